#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packets of some connections, or of all, vanish at random moments of a migration without a word to either side; the
image or the guest arrives whole. Argument: the program. MIGRATE_TEST_CUTS sets how many silences each case has,
MIGRATE_TEST_SEED the moments. The test runs in a network namespace of its own, where nftables drops the packets."""

import filecmp
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import links  # noqa: E402
from both_sides import Run  # noqa: E402
from waiting import ends_within  # noqa: E402

SKIPPED = 77
SILENCES = int(os.environ.get("MIGRATE_TEST_CUTS", "4"))
SEED = int(os.environ.get("MIGRATE_TEST_SEED", "20240611"))
RULES = """
table inet silence {
    set ports { type inet_service; }
    chain sent {
        type filter hook output priority 0;
        tcp sport @ports drop
        tcp dport @ports drop
    }
}
"""


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def silence(ports):
    nft(f"add element inet silence ports {{ {', '.join(map(str, ports))} }}")


def end_silence():
    nft("flush set inet silence ports")


def ports_of_senders(port):
    """The senders' ports of the connections to `port`."""
    lines = subprocess.run(["ss", "-Htn", "state", "established", f"dport = :{port}"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return [int(line.split()[2].rsplit(":", 1)[1]) for line in lines]


class Silences(unittest.TestCase):
    binary = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(folder.cleanup)
        self.addCleanup(end_silence)
        self.folder = Path(folder.name)
        self.random = random.Random(f"{SEED} {self.id()}")
        self.counts = {"silences": 0, "migrations": 0}

    def strike(self, run):
        """Silences connections, or the receiver's port, for a while; those of single connections may last."""
        ports = sorted(ports_of_senders(run.port))
        kind = self.random.choice(["one", "some", "all", "network"])
        if kind == "one":
            ports = self.random.sample(ports, min(1, len(ports)))
        elif kind == "some":
            ports = [port for port in ports if self.random.random() < 0.5]
        elif kind == "network":
            ports = [run.port]
        if not ports:
            return
        silence(ports)
        self.counts["silences"] += 1
        lasts = kind != "network" and self.random.random() < 0.5
        if not lasts:
            ends_within(run.sender, self.random.uniform(0.2, 3))
            end_silence()

    def migrate(self, *words, **named):
        channels = self.random.randint(1, 4)
        run = Run(self.binary, self.folder, *words, **named, send=[
            "--verify", "digest", "--multifd-channels", str(channels), "--max-bandwidth", "60M/s", "--io-timeout", "1s",
            "--reconnect-timeout", "30s", "--downtime-limit", "20s", "--run-for", "20ms"],
            recv=["--run-for", "20ms", "--io-timeout", "1s"])
        run.await_event("send", "MIGRATION_SESSION")
        for _ in range(self.random.randint(1, 3)):
            if ends_within(run.sender, self.random.uniform(0, 0.8)):
                break
            self.strike(run)
        codes = run.end()
        end_silence()
        self.assertEqual(codes, (0, 0), f"seed {SEED}, migration {self.counts['migrations']}: {run.errors}")
        self.counts["migrations"] += 1
        sent, received = run.stats("send"), run.stats("recv")
        for key in ("main-channel-lost", "channels-lost", "bytes-lost", "duration-us"):
            self.counts[key] = self.counts.get(key, 0) + sent["outages"].get(key, 0)
        return sent, received

    def repeat(self, migrate):
        while self.counts["silences"] < SILENCES:
            migrate()
        print(f"{self.id().rsplit('.', 1)[-1]}: seed {SEED}: {self.counts}", flush=True)

    def test_image_arrives_whole(self):
        image, copy = self.folder / "image", self.folder / "copy"
        image.write_bytes(b"".join(self.random.choice([bytes(4096), self.random.randbytes(4096)])
                                   for _ in range(12 * 1024)))

        def one():
            self.migrate(f"file:{image}", f"file:{copy}")
            self.assertTrue(filecmp.cmp(image, copy, shallow=False))
        self.repeat(one)

    def test_guest_arrives_whole(self):
        def one():
            sent, received = self.migrate("workload:48M,rate=20,warm-up=0", "anon:")
            self.assertEqual(received["guest"]["check"], "passed")
            self.assertEqual(sent["guest-owner"], "destination")
        self.repeat(one)


def main():
    Silences.binary = sys.argv.pop(1)
    try:
        links.enter_own_namespace("nft", "ss")
    except links.Missing as missing:
        print("skipped:", missing)
        sys.exit(SKIPPED)
    nft(RULES)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
