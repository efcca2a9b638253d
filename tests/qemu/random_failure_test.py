#!/usr/bin/env python3
"""Usage: random_failure_test.py MIGRATE

Strikes migrations of a running QEMU at random moments of each phase: either QEMU or either `migrate` is killed, the
network is cut, or a second client gives QEMU a command. Whatever strikes, two guests never run at the same time, no page
is wrong, and no guest is left running nowhere unless the operator did that or the sender ends with the exit code "owner
unknown". MIGRATE_TEST_QEMU_FAULTS sets how many strikes (default 6), MIGRATE_TEST_SEED which; both are printed.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import vm
from faults import CuttableRoute
from run_watch import RunWatch, overlaps
from strikes import DEVICES, KINDS, NOT_AFTER, Struck

SEED = 12
PHASES = ("start", "rounds", "switchover", "after")
LINK = "150M/s"
REWRITE_MIB = 32
PAGES = (REWRITE_MIB << 20) // 4096
SETTLE_S = 20
OWNER_UNKNOWN = 6
AT_SOURCE = (1, 3, 4, 5)  # exit codes that say so
# From the frame HANDOVER to the guest's first step at the destination, at most: a `cont` at the source within that time
# comes too late to be noticed.
HANDOVER_S = 0.1


class Violation(vm.Trouble):
    """What must never be."""


def start(image, incoming):
    """A QEMU, and the socket of who watches it."""
    qemu = vm.Qemu(image, incoming=incoming, rewrite_mib=REWRITE_MIB, rate=REWRITE_MIB, slots=4,
                   extra=(*DEVICES, "-qmp", f"unix:{watch_path()},server=on,wait=off"))
    return qemu, RunWatch(watch_path.path, running=not incoming)


def watch_path():
    watch_path.count += 1
    watch_path.path = Path(tempfile.gettempdir()) / f"migrate-test-{os.getpid()}-{watch_path.count}.watch"
    return watch_path.path


watch_path.count = 0


class Turn:
    """One migration and what strikes it."""

    def __init__(self, binary, image, folder, source, kind, phase, chance):
        self.image, self.chance, self.kind, self.phase = image, chance, kind, phase
        self.events = Path(folder) / "events"
        self.events.unlink(missing_ok=True)
        self.route = CuttableRoute()
        self.struck = Struck()
        self.qemus, self.watches = {"source": source[0]}, {"source": source[1]}
        self._add("destination")
        self.words = ""
        self.migration = vm.Migration(binary, source[0], self.qemus["destination"], folder, "--max-bandwidth", LINK,
                                      "--events", self.events, route=self.route.to)

    def _add(self, side):
        self.qemus[side], self.watches[side] = start(self.image, incoming=True)
        return self.qemus[side]

    def third(self):
        return self._add("third")

    # Striking

    def _await_event(self, wanted):
        sender = self.migration.sender.process
        while sender.poll() is None and not (self.events.exists() and wanted in self.events.read_text()):
            time.sleep(0.001)

    def was_paused(self):
        """By the sender, for the switchover."""
        return self.events.exists() and '"STOP"' in self.events.read_text()

    def strike(self):
        if self.phase == "start":
            time.sleep(self.chance.uniform(0, 0.25))
        elif self.phase == "rounds":
            self._await_event('"MIGRATION_PASS"')
            time.sleep(self.chance.uniform(0, 1))
        elif self.phase == "switchover":
            self._await_event('"STOP"')
            time.sleep(self.chance.uniform(0, 0.06))
        else:
            self.migration.sender.wait()
            time.sleep(self.chance.uniform(0, 0.2))
        KINDS[self.kind](self, self.struck)

    # Judging

    def finish(self):
        """Until both `migrate` and QEMU's own migration have ended; the sender's exit code."""
        sent = self.migration.sender.wait()
        try:
            received = self.migration.receiver.wait(vm.WAIT_S if sent == 0 else 10)
        except vm.Trouble:
            if sent == 0:
                raise
            received = None  # it waits for another sender
        self.words = f"{self.migration.words()}exit codes {sent} and {received}"
        self._await_own_migration()
        return sent, received

    def _await_own_migration(self):
        if "third" not in self.qemus and not self.kind.startswith("migrate"):
            return
        until = time.monotonic() + vm.WAIT_S
        while self.qemus["source"].process.poll() is None and time.monotonic() < until:
            with self.qemus["source"].operator() as qmp:
                status = qmp.ask("query-migrate").get("status", "none")
            if status in ("none", "completed", "failed", "cancelled"):
                self.struck.words += f", its own migration {status}"
                return
            time.sleep(0.1)

    def running(self):
        return [side for side, watch in self.watches.items() if watch.running()]

    def settle(self, sent):
        """The side where the guest runs, once it does; None: nowhere, which is right."""
        until = time.monotonic() + SETTLE_S
        while not self.running() and time.monotonic() < until and not self._may_run_nowhere(sent):
            time.sleep(0.05)
        if not self.running():
            # What a guardian does follows the death of its process.
            time.sleep(1)
        sides = self.running()
        if not sides and not self._may_run_nowhere(sent):
            states = {side: qemu.state() for side, qemu in self.qemus.items() if qemu.process.poll() is None}
            raise Violation(f"the guest runs nowhere: {states}")
        return sides[0] if sides else None

    def _may_run_nowhere(self, sent):
        struck = self.struck
        if struck.stopped or sent == OWNER_UNKNOWN:
            return True
        # Who was killed in the handover can say nothing.
        if "sender" in struck.killed and self.phase == "switchover":
            return True
        # A QEMU that is killed takes the guest along that the exit code says is in it.
        return ("destination" if sent == 0 else "source") in struck.killed

    def check_runs_once(self):
        sides = sorted(self.watches)
        for first, one in enumerate(sides):
            for other in sides[first + 1:]:
                for since, until in overlaps(self.watches[one], self.watches[other]):
                    if self._is_operators_doing(since):
                        continue
                    raise Violation(f"two guests run from {since:.3f} to {until:.3f}: {one} "
                                    f"{self.watches[one].events[-6:]}, {other} {self.watches[other].events[-6:]}")

    def _is_operators_doing(self, since):
        """A `cont` that came to the source after the guest was handed over."""
        cont = self.struck.cont_at
        arrived = self.watches["destination"].ran()
        return cont != 0 and bool(arrived) and since >= arrived[0][0] - HANDOVER_S and cont >= (
            arrived[0][0] - HANDOVER_S)

    def check_stays_stopped(self):
        when = self.struck.stayed_at
        for side, watch in self.watches.items():
            if when and any(since > when for since, _ in watch.ran()):
                raise Violation(f"the guest that its operator stopped runs at the {side}")

    def check_claims(self, sent, received):
        """What the exit codes say of the guest's owner is true."""
        struck = self.struck
        if struck.cont_at or "third" in self.qemus:
            return  # another client has moved or run it since
        ran = bool(self.watches["destination"].ran())
        if sent == 0 and not ran and not (struck.stopped or "destination" in struck.killed):
            raise Violation("the sender says that it is done, and the guest never ran at the destination")
        if sent in AT_SOURCE and "destination" in self.running():
            raise Violation(f"the sender's exit code {sent} says that the guest is at the source; it runs at the other")
        if received == 0 and "source" in self.running():
            raise Violation("the receiver says that it has the guest, which runs at the source")

    def check_pages(self):
        for side, qemu in self.qemus.items():
            # QEMU's own migration loses writes of an emulated vCPU.
            bad = [tick for tick in qemu.ticks() if tick[3]] if side != "third" else []
            if bad:
                raise Violation(f"the guest found {bad[0][3]} wrong pages at the {side}, at tick {bad[0][1]}")

    def check_count(self, side):
        """It goes on where it was: what ran at the source before is followed by what runs at the destination."""
        ticks = {name: qemu.ticks() for name, qemu in self.qemus.items()}
        if side != "destination" or self.struck.reset or not ticks["source"] or not ticks["destination"]:
            return
        if not self._is_operators_doing(time.time()) and not (
                ticks["source"][-1][1] < ticks["destination"][0][1] <= ticks["source"][-1][1] + 3):
            raise Violation(f"the guest counted {ticks['source'][-1][1]} at the source, and goes on from "
                            f"{ticks['destination'][0][1]}")

    def read_all_pages(self, side):
        """The guest reads all of its memory once; after a reset it is booted first."""
        qemu = self.qemus[side]
        if self.struck.reset:
            qemu.await_line(lambda line: line.startswith("tick "), vm.BOOT_S, len(qemu.lines))
        first = qemu.await_more(1, vm.BOOT_S)
        until = time.monotonic() + vm.WAIT_S
        while (last := qemu.await_more(20))[2] < first[2] + PAGES:
            if self.struck.reset and last[2] < first[2]:
                first = last  # it was reset just now
            if time.monotonic() > until:
                raise vm.Trouble(f"the guest is too slow: {last[2] - first[2]} pages in {vm.WAIT_S} s")

    def judge(self):
        """The side that has the guest, which runs; None: it is gone, or not fit for another turn."""
        sent, received = self.finish()
        side = self.settle(sent)
        self.check_runs_once()
        self.check_stays_stopped()
        self.check_claims(sent, received)
        self.check_pages()
        if side is None and (self.struck.stopped or sent == OWNER_UNKNOWN):
            side = self.let_run(sent)
        if side not in (None, "third"):
            self.read_all_pages(side)
            self.check_runs_once()
            self.check_pages()
            self.check_count(side)
        return side, sent

    def let_run(self, sent):
        """As the operator would, where the exit code says that the guest is."""
        arrived = sent == 0 or (sent == OWNER_UNKNOWN and bool(self.watches["destination"].ran()))
        side = "destination" if arrived else "source"
        if self.qemus[side].process.poll() is not None:
            return None
        with self.qemus[side].operator() as qmp:
            qmp.ask("cont")
        return side

    def end(self, keep):
        self.route.cut()
        self.migration.end()
        for side in list(self.qemus):
            if side != keep:
                end(self.qemus[side], self.watches[side])


def end(qemu, watch):
    qemu.kill()
    watch.close()


def choose(chance, number):
    """All kinds come equally often, each in a phase in which it says something."""
    if number % len(KINDS) == 0:
        choose.kinds = chance.sample(sorted(KINDS), len(KINDS))
    kind = choose.kinds[number % len(KINDS)]
    return kind, chance.choice([phase for phase in PHASES if phase != "after" or kind not in NOT_AFTER])


def boot(image):
    source = start(image, incoming=False)
    try:
        source[0].await_boot()
    except BaseException:
        end(*source)
        raise
    return source


def run_turn(binary, image, folder, source, kind, phase, chance):
    """The QEMU that has the guest afterwards, or None; and what came of it."""
    keep = turn = None
    try:
        turn = Turn(binary, image, folder, source, kind, phase, chance)
        turn.strike()
        side, sent = turn.judge()
        keep = None if side == "third" or (turn.struck.changed and side == "source") else side
        print(f" {turn.struck.words}: exit code {sent}, guest at {side}", flush=True)
        return (turn.qemus[keep], turn.watches[keep]) if keep else None, f"{phase}: {side}"
    except (vm.Trouble, OSError) as trouble:
        raise vm.Trouble(f"{trouble}\n{turn.words[-6000:] if turn else ''}") from trouble
    finally:
        if turn is None:
            end(*source)
        else:
            turn.end(keep)


def run_turns(binary, image, folder, turns, chance):
    """How often the guest was where after which phase; and the turns that went wrong."""
    outcome, wrong = Counter(), []
    source = None
    try:
        for number in range(turns):
            kind, phase = choose(chance, number)
            print(f"{number + 1}: {kind}, {phase}:", end="", flush=True)
            current, source = source or boot(image), None
            try:
                source, what = run_turn(binary, image, folder, current, kind, phase, chance)
                outcome[what] += 1
            except vm.Trouble as trouble:
                print(f" WRONG: {trouble}", flush=True)
                wrong.append(f"{number + 1}: {kind}, {phase}: {str(trouble).splitlines()[0]}")
    finally:
        if source is not None:
            end(*source)
    return outcome, wrong


def main():
    binary = sys.argv[1]
    vm.require_guest()
    turns = int(os.environ.get("MIGRATE_TEST_QEMU_FAULTS", "6"))
    seed = int(os.environ.get("MIGRATE_TEST_SEED", SEED))
    print(f"seed {seed}, {turns} failures, {vm.QEMU}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome, wrong = run_turns(binary, vm.build_initramfs(folder), folder, turns, random.Random(seed))
    print("the guest was at:", json.dumps(dict(sorted(outcome.items()))))
    print(*wrong, f"{turns - len(wrong)} of {turns} failures did no harm", sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
