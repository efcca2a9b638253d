# SPDX-License-Identifier: Apache-2.0
"""Several network paths over real links of different rates: they share the work, one is cut in mid-round and comes back.

    python3 -B tests/network/paths_test.py BIN [--long]

Prints its figures. --long also judges the rates, and needs a machine that is idle.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import links
from waiting import ends_within

SKIPPED = 77
DEADLINE_S = 240
SILENCE_S = 2  # io-timeout: a link that is silent for longer is lost
NEAR = 0.95
SAMPLE_S = 0.02  # between two looks at the links' counters


class Run:
    """A transfer of `mib` MiB of random pages by these links, `channels` on each."""

    def __init__(self, binary, network, mib, sink, used, folder, channels=2):
        self.network = network
        self.used = used
        self.pages = mib * 256
        self.folder = Path(folder)
        self.said = []
        self.samples = []  # (time, bytes sent by each link)
        listens = [word for link in network.links for word in ("--listen", f"{link.peer}:4444")]
        common = ["--tls-creds", "none", "--io-timeout", f"{SILENCE_S}s"]
        self.receiver = subprocess.Popen(
            network.there + [binary, "recv", *listens, "--sink", sink, "--stats", self.folder / "received", *common],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        paths = [word for link in used for word in ("--path", f"remote={link.peer}:4444,channels={channels}")]
        self.sender = subprocess.Popen(
            [binary, "send", *paths, "--multifd-channels", str(channels * len(used)), "--source",
             f"anon:{mib}M,fill=random", "--stats", self.folder / "sent", "--verify",
             "none" if sink == "null:" else "digest", *common],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.sender.stderr:
            self.said.append(line)

    def sample(self):
        self.samples.append((time.monotonic(), [link.sent() for link in self.used]))

    def until(self, condition, what):
        """Looks at the links until the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.sample()
            if self.sender.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"FAILED: {what}; the sender said:\n{''.join(self.said)}")
            ends_within(self.sender, SAMPLE_S)
        self.sample()

    def finish(self):
        while not ends_within(self.sender, SAMPLE_S):
            self.sample()
        self.sender.wait()
        error = self.receiver.communicate(timeout=DEADLINE_S)[1]
        self.reader.join(20)
        if self.sender.returncode != 0 or self.receiver.returncode != 0:
            sys.exit(f"FAILED: codes {self.sender.returncode} and {self.receiver.returncode}\n"
                     f"{''.join(self.said)}{error}")
        self.sent = json.loads((self.folder / "sent").read_text())
        self.received = json.loads((self.folder / "received").read_text())

    def rate(self, begin, end):
        """Mbit/s of each link between two samples' times, with all headers."""
        inside = [sample for sample in self.samples if begin <= sample[0] <= end]
        if len(inside) < 2 or inside[-1][0] == inside[0][0]:
            return [0.0] * len(self.used)
        seconds = inside[-1][0] - inside[0][0]
        return [(b - a) * 8e-6 / seconds for a, b in zip(inside[0][1], inside[-1][1])]

    def mbps(self):
        """Mbit/s of what migrate sent."""
        return self.sent["ram"]["mbps"]


class Checks:
    def __init__(self):
        self.failed = []

    def that(self, holds, what):
        print(f"{'ok' if holds else 'FAILED'}: {what}")
        if not holds:
            self.failed.append(what)


def check_pages(checks, run):
    """The receiver refuses a page that comes twice in a round; both sides counted each page once."""
    for side in (run.sent, run.received):
        ram = side["ram"]
        checks.that(ram["normal"] == run.pages and ram["duplicate"] == ram["unpopulated"] == 0,
                    f"{side['side']}: {ram['normal']} of {run.pages} pages, each counted once")


def show_paths(run):
    for path in run.sent["paths"]:
        print(f"  path {path['remote']} by {path['interface']}: {path['bytes']} bytes, {path['mbps']:.1f} Mbit/s, "
              f"{path['retransmits']} retransmits, round trip {path.get('round-trip-us', 0)} us, "
              f"{path['channels']} channels, {path['channels-lost']} lost")


def alone(binary, network, link, mib):
    with tempfile.TemporaryDirectory() as folder:
        run = Run(binary, network, mib, "null:", [link], folder)
        run.finish()
    print(f"alone, {link.mbit} Mbit/s: {run.mbps():.1f} Mbit/s")
    return run.mbps()


def check_sum(checks, binary, network, mib, judges):
    print(f"\nboth paths, {mib} MiB:")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(binary, network, mib, "null:", network.links, folder)
        run.finish()
    show_paths(run)
    check_pages(checks, run)
    nominal = sum(link.mbit for link in network.links)
    print(f"together: {run.mbps():.1f} Mbit/s, {run.mbps() / nominal:.3f} of {nominal} Mbit/s")
    checks.that(all(path["bytes"] > 0 and path["channels-lost"] == 0 for path in run.sent["paths"]),
                "each path carries a part, and loses no channel")
    if judges:
        singles = [alone(binary, network, link, mib * link.mbit // nominal) for link in network.links]
        print(f"sum of what each path carries alone: {sum(singles):.1f} Mbit/s")
        checks.that(run.mbps() >= NEAR * nominal, f"at least {NEAR} of the sum of the links' rates")


def check_cut(checks, binary, network, mib, sink, lasts_s, judges):
    """Cuts the last path in mid-round for `lasts_s` seconds, or until its loss was noticed."""
    print(f"\nthe path of {network.links[-1].mbit} Mbit/s is cut in mid-round, {mib} MiB:")
    link = network.links[-1]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(binary, network, mib, sink, network.links, folder)
        before = link.sent()
        quarter = mib * 2**20 * link.mbit // sum(one.mbit for one in network.links) // 4
        run.until(lambda: link.sent() - before > quarter, "the path does not carry its part")
        began = time.monotonic() - 0.5
        cut = time.monotonic()
        link.cut()
        run.until(lambda: time.monotonic() - cut > lasts_s and any("channels lost" in line for line in run.said),
                  "the loss is not noticed")
        mended = time.monotonic()
        link.mend()
        run.until(lambda: any("replaced on path" in line for line in run.said), "the path does not come back")
        back = time.monotonic()
        run.finish()
        end = run.samples[-1][0]
    show_paths(run)
    outages = run.sent["outages"]
    print(f"  cut for {mended - cut:.1f} s; back {back - mended:.2f} s after it was mended; "
          f"{outages['pages-sent-again']} pages and {outages['bytes-lost']} bytes were lost with the channels")
    # The begin and the end of a round are not judged, and neither is the time until TCP has found its speed.
    after = run.rate(back + 0.5, min(back + 6, end - 0.5))
    rates = {"before": run.rate(began, cut), "cut": run.rate(cut + 0.2, mended), "after": after}
    for name, each in rates.items():
        print(f"  {name}: {', '.join(f'{rate:.0f}' for rate in each)} Mbit/s on the links")
    check_pages(checks, run)
    checks.that(run.sent["outcome"] == "completed" and run.received["outcome"] == "completed", "no side fails")
    path = run.sent["paths"][-1]
    checks.that(path["channels-lost"] >= 1 and path["channels"] == 2, "the path lost channels, and has all again")
    others = run.sent["paths"][:-1]
    checks.that(all(one["channels-lost"] == 0 for one in others), "no other path lost a channel")
    checks.that(outages["main-channel-lost"] == 0 and outages["count"] == 0, "there was no outage")
    if sink != "null:":
        checks.that(run.sent["digests"] == run.received["digests"], "the digests agree")
    if judges:
        for name, each in rates.items():
            expected = [0 if name == "cut" and one is link else one.mbit for one in network.links]
            near = all(rate >= NEAR * rated for rate, rated in zip(each, expected)) and (name != "cut" or each[-1] == 0)
            checks.that(near, f"{name}: the links carry {expected} Mbit/s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    rates = (400, 200) if options.long else (160, 80)
    try:
        network = links.Network(rates)
    except (links.Missing, OSError) as missing:
        print(f"skipped: {missing}")
        return SKIPPED
    checks = Checks()
    try:
        if options.long:
            check_sum(checks, options.binary, network, 1024, True)
            check_cut(checks, options.binary, network, 1536, "null:", 6, True)
        else:
            check_sum(checks, options.binary, network, 24, False)
            check_cut(checks, options.binary, network, 128, "anon:", 0, False)
    finally:
        network.close()
    if checks.failed:
        print(f"{len(checks.failed)} checks failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
