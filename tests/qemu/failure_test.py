#!/usr/bin/env python3
"""Usage: failure_test.py MIGRATE

A migration of a running QEMU fails at random moments, in each way it can; the guest runs on at the source, and the next
attempt moves it. MIGRATE_TEST_QEMU_FAULTS sets how many (default 5), MIGRATE_TEST_SEED which.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import vm
from faults import CuttableRoute, FaultyQmp

KINDS = ("destination QEMU killed", "network cut", "sender killed", "receiver killed", "QMP error at the source",
         "QMP error at the destination")
SOURCE_COMMANDS = ("stop", "migrate-set-capabilities", "migrate-set-parameters", "getfd", "migrate", "query-status")
DESTINATION_COMMANDS = ("getfd", "migrate-incoming", "query-status", "cont")
LINK = "150M/s"


class Turn:
    def __init__(self, binary, source, destination, folder, kind, chance):
        self.source, self.destination, self.kind, self.chance = source, destination, kind, chance
        self.route = CuttableRoute()
        self.fault = None
        self.events = Path(folder) / "events"
        self.events.unlink(missing_ok=True)
        more = {}
        if kind.startswith("QMP"):
            at_source = kind.endswith("source")
            command = chance.choice(SOURCE_COMMANDS if at_source else DESTINATION_COMMANDS)
            self.fault = FaultyQmp(source if at_source else destination, command, chance.random() < 0.5)
            self.kind += f" ({command}, {'hangs up' if self.fault.hang_up else 'refused'})"
            more["source_at" if at_source else "destination_at"] = self.fault.at
        try:
            self.migration = vm.Migration(binary, source, destination, folder, "--max-bandwidth", LINK, "--events",
                                          self.events, route=self.route.to, **more)
        except vm.Trouble as trouble:
            # The fault struck before there was a session.
            self.migration, self.words = None, str(trouble)

    def _stopped(self):
        return self.events.exists() and '"STOP"' in self.events.read_text()

    def strike(self):
        """Half of the faults come in the switchover, which is short."""
        if self.fault is not None or self.migration is None:
            return
        sender = self.migration.sender.process
        if self.chance.random() < 0.5:
            while sender.poll() is None and not self._stopped():
                time.sleep(0.001)
            time.sleep(self.chance.uniform(0, 0.06))
            self.kind += ", in the switchover"
        else:
            time.sleep(self.chance.uniform(0, 1.2))
        if self.kind.startswith("destination"):
            self.destination.process.kill()
        elif self.kind.startswith("network"):
            self.route.cut()
        else:
            victim = sender if self.kind.startswith("sender") else self.migration.receiver.process
            if victim.poll() is None:
                victim.send_signal(signal.SIGKILL)

    def finish(self):
        """Where the guest is: "source", "destination", "gone" with the QEMU it had arrived in before that was killed,
        or "undecided" if it was given away and the answer got lost: then the sender says so, and keeps it paused."""
        if self.migration is None:
            return "source"
        # A receiver without a sender waits for the next one.
        sent = self.migration.sender.wait()
        if self.kind.startswith(("sender", "QMP error at the source")):
            try:
                self.migration.receiver.wait(8)
            except vm.Trouble:
                self.migration.end()
        self.migration.receiver.wait()
        self.words = self.migration.words()
        time.sleep(0.3)  # what the guardian does follows the death of its process
        alive = self.destination.process.poll() is None
        if alive and self.destination.ticks() and not self.destination.is_silent():
            return "destination"
        state = self.source.state()
        if state == "running":
            return "source"
        if sent == 0 and not alive:
            return "gone"
        # A sender that is killed between its two last steps can say nothing.
        if "was handed over" in self.migration.sender.words or self.kind.startswith("sender"):
            return "undecided"
        raise vm.Trouble(f"the guest is '{state}' at the source\n{self.words}")

    def clean_up(self):
        self.route.cut()
        if self.fault is not None:
            self.fault.close()
        if self.migration is not None:
            self.migration.end()


def check_runs(qemu):
    qemu.await_more(10)
    bad = qemu.ticks()[-1][3]
    if bad:
        raise vm.Trouble(f"the guest found {bad} pages that hold something else than it wrote")


def run_turn(binary, image, source, folder, kind, chance):
    """One failure and the attempt after it; the QEMU that has the guest then."""
    destination = vm.Qemu(image, incoming=True, rewrite_mib=48, rate=16)
    settings = source.settings(), destination.settings()
    turn = Turn(binary, source, destination, folder, kind, chance)
    try:
        turn.strike()
        where = turn.finish()
        # Whoever was killed, and whenever: nothing of ours stays behind.
        source.await_settings(settings[0])
        if destination.process.poll() is None and destination.state() in ("inmigrate", "running"):
            destination.await_settings(settings[1])
        if where == "destination":
            if source.state() == "running":
                raise vm.Trouble(f"the guest runs twice\n{turn.words}")
            check_runs(destination)
            vm.check_went_on(source, destination)
            source.kill()
            source = destination
        else:
            if where != "source":
                # As docs/qemu.md says: it does not run at the destination, so it may run here.
                with source.qmp() as qmp:
                    qmp.ask("cont")
            check_runs(source)
            destination.kill()
    except BaseException:
        destination.kill()
        raise
    finally:
        turn.clean_up()
    fresh = vm.Qemu(image, incoming=True, rewrite_mib=48, rate=16)
    again = vm.Migration(binary, source, fresh, folder, "--verify", "digest")
    try:
        if again.wait() != (0, 0):
            raise vm.Trouble(f"the next attempt failed after: {turn.kind}\n{again.words()}\nbefore:\n{turn.words}")
        fresh.await_more(10)
        vm.check_went_on(source, fresh)
        check_runs(fresh)
    except BaseException:
        fresh.kill()
        raise
    finally:
        again.end()
    source.kill()
    return fresh, turn.kind, where


def main():
    binary = sys.argv[1]
    vm.require_guest()
    turns = int(os.environ.get("MIGRATE_TEST_QEMU_FAULTS", "5"))
    seed = int(os.environ.get("MIGRATE_TEST_SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    print(f"seed {seed}, {turns} failures", flush=True)
    outcome = Counter()
    kinds = []
    with tempfile.TemporaryDirectory() as folder:
        image = vm.build_initramfs(folder)
        source = vm.Qemu(image, rewrite_mib=48, rate=16)
        try:
            source.await_boot()
            for number in range(turns):
                kinds = kinds or chance.sample(KINDS, len(KINDS))
                kind = kinds.pop()
                print(f"{number + 1}: {kind}", end="", flush=True)
                source, what, where = run_turn(binary, image, source, folder, kind, chance)
                outcome[where] += 1
                print(f"{what.removeprefix(kind)}: guest at {where}; moved by the next attempt", flush=True)
        finally:
            source.kill()
    print("the guest was at:", json.dumps(outcome))


if __name__ == "__main__":
    main()
