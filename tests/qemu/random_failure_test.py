#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Strikes migrations of a running QEMU at random moments of a random phase: either QEMU or either `migrate` is killed,
the network is cut, or a second client gives QEMU a command. Whatever strikes, two guests never run at the same time, no
page is wrong, and no guest is left running nowhere unless the operator did that or the sender ends with the exit code "owner
unknown". --times repeats each kind of strike with other phases and moments."""

import time

import runner
import vm
from faults import CuttableRoute
from run_watch import RunWatch, overlaps
from runner import each
from strikes import DEVICES, KINDS, NOT_AFTER, Struck

PHASES = ("start", "rounds", "switchover", "after")
LINK = "150M/s"
REWRITE_MIB = 32
PAGES = (REWRITE_MIB << 20) // 4096
SETTLE_S = 20
OWNER_UNKNOWN = 6
AT_SOURCE = (1, 3, 4, 5)  # exit codes that say so
# The longest time from the frame HANDOVER to the guest's first step at the destination: a `cont` at the source within
# that time comes too late to be noticed.
HANDOVER_S = 0.1


class Violation(vm.Trouble):
    """A broken guarantee, for example a guest that runs on both sides."""


class RandomFailures(runner.Case):
    """One migration, and a strike."""

    # Private memory where it can be moved: no mapping of the tool keeps it.
    shape = {"rewrite_mib": REWRITE_MIB, "rate": REWRITE_MIB, "slots": 4, "extra": DEVICES,
             "backend": "private" if vm.MOVES_BLOCKS else "file"}

    @each(*sorted(KINDS))
    def test_one_guest_runs_after(self, kind):
        self.kind = kind
        self.phase = self.chance.choice([phase for phase in PHASES if phase != "after" or kind not in NOT_AFTER])
        self.struck = Struck()
        self.qemus, self.watches = {}, {}
        self.add("source", self.guest())
        self.add("destination", self.waiting())
        self.route = CuttableRoute()
        self.addCleanup(self.route.cut)
        self.words = ""
        self.begin(self.qemus["source"], self.qemus["destination"], "--max-bandwidth", LINK, route=self.route.to)
        try:
            self.strike()
            side, sent = self.judge()
        except (vm.Trouble, OSError) as trouble:
            raise vm.Trouble(f"{self.phase}: {trouble}\n{self.words[-6000:] or self.migration.words()}") from trouble
        print(f"{self.phase}: {self.struck.words or 'struck'}: exit code {sent}, guest at {side}")

    def add(self, side, qemu):
        self.qemus[side], self.watches[side] = qemu, RunWatch(qemu)
        return qemu

    def third(self):
        return self.add("third", self.waiting())

    # Striking

    def was_paused(self, timeout_s):
        """Returns True once the sender has paused the guest for the switchover, False after `timeout_s`."""
        return self.migration.has_event('"STOP"', timeout_s)

    def pause(self, seconds):
        """A random time, at most until the sender ends."""
        vm.ends_within(self.migration.sender.process, self.chance.uniform(0, seconds))

    def strike(self):
        if self.phase == "start":
            self.pause(0.25)
        elif self.phase == "rounds":
            self.migration.has_event('"MIGRATION_PASS"')
            self.pause(1)
        elif self.phase == "switchover":
            self.migration.has_event('"STOP"')
            self.pause(0.06)
        else:
            self.migration.sender.wait()
            vm.ends_within(self.qemus["destination"].process, self.chance.uniform(0, 0.2))
        KINDS[self.kind](self, self.struck)

    # Judging

    def finish(self):
        """Until both `migrate` and QEMU's own migration have ended; the sender's exit code."""
        sent = self.migration.sender.wait()
        received = None
        if sent == 0 or vm.ends_within(self.migration.receiver.process, 3):
            received = self.migration.receiver.wait()
        # Otherwise it waits for another sender.
        self.words = f"{self.migration.words()}exit codes {sent} and {received}"
        self._await_own_migration()
        return sent, received

    def _await_own_migration(self):
        if "third" not in self.qemus and not self.kind.startswith("migrate"):
            return
        source = self.qemus["source"]

        def status():
            if source.state_if_alive() is None:
                return "ended with QEMU"
            now = source.control.ask("query-migrate").get("status", "none")
            return now if now in ("none", "completed", "failed", "cancelled") else None
        self.struck.words += f", QEMU's own migration: {vm.eventually(status)}"

    def running(self):
        return [side for side, watch in self.watches.items() if watch.running()]

    def settle(self, sent):
        """The side where the guest runs, once it does; None: nowhere, which is right."""
        # Guardians have ended by now.
        if not self._may_run_nowhere(sent):
            try:
                vm.eventually(self.running, SETTLE_S)
            except vm.Trouble:
                pass
        sides = self.running()
        if not sides and not self._may_run_nowhere(sent):
            states = {side: qemu.state_if_alive() for side, qemu in self.qemus.items()}
            raise Violation(f"the guest runs nowhere: {states}")
        return sides[0] if sides else None

    def _may_run_nowhere(self, sent):
        struck = self.struck
        if struck.stopped or sent == OWNER_UNKNOWN:
            return True
        # A sender that was killed during the handover cannot report the owner.
        if "sender" in struck.killed and self.phase == "switchover":
            return True
        # The guest dies with a killed QEMU, if the exit code says that the guest is there.
        return ("destination" if sent == 0 else "source") in struck.killed

    def check_runs_once(self):
        sides = sorted(self.watches)
        for first, one in enumerate(sides):
            for other in sides[first + 1:]:
                for since, until in overlaps(self.watches[one], self.watches[other]):
                    if self._is_operators_doing(since):
                        continue
                    raise Violation(f"two guests run from {since:.3f} to {until:.3f}: {one} "
                                    f"{self.watches[one].last_events()}, {other} {self.watches[other].last_events()}")

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
        """Checks that the exit codes report the right owner of the guest."""
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
        """Sends `cont` to the side that has the guest according to the exit code, as an operator would."""
        arrived = sent == 0 or (sent == OWNER_UNKNOWN and bool(self.watches["destination"].ran()))
        side = "destination" if arrived else "source"
        if self.qemus[side].process.poll() is not None:
            return None
        self.qemus[side].control.ask("cont")
        return side


if __name__ == "__main__":
    runner.main(__doc__)
