#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A migration of a running QEMU fails at a random moment, in each way it can; the guest runs on at the source, and the
next attempt moves it. --times repeats each way with other moments."""

import signal

import runner
import vm
from faults import CuttableRoute, FaultyQmp
from runner import each

KINDS = ("destination QEMU killed", "network cut", "sender killed", "receiver killed", "QMP error at the source",
         "QMP error at the destination")
SOURCE_COMMANDS = ("stop", "query-status", *(
    ("xen-save-devices-state", "query-migrate", "human-monitor-command") if vm.MOVES_BLOCKS else
    ("migrate-set-capabilities", "migrate-set-parameters", "getfd", "migrate")))
DESTINATION_COMMANDS = ("migrate-incoming", "query-status", "cont",
                        *(("add-fd", "migrate-set-capabilities") if vm.MOVES_BLOCKS else ("getfd",)))
LINK = "150M/s"


class Failures(runner.Case):
    shape = {"rewrite_mib": 48, "rate": 16}

    @each(*KINDS)
    def test_the_next_attempt_moves_the_guest(self, kind):
        source, destination = self.guest(), self.waiting()
        settings = source.settings(), destination.settings()
        if self.begin_with_fault(kind, source, destination):
            self.strike(kind, destination)
            where = self.find_guest(kind, source, destination)
        else:
            where = "source"
        print(f"the guest is at: {where}")
        # Whichever process was killed, and whenever: no setting of the migration stays behind.
        source.await_settings(settings[0])
        if destination.state_if_alive() in ("inmigrate", "running"):
            destination.await_settings(settings[1])
        if where == "destination":
            self.assertNotEqual(source.state(), "running", f"the guest runs twice\n{self.migration.words()}")
            self.check_runs(destination)
            vm.check_went_on(source, destination)
            source.kill()
            source = destination
        else:
            if where != "source":
                # docs/qemu.md allows this: the guest does not run at the destination, so it may run here.
                source.control.ask("cont")
            self.check_runs(source)
            destination.kill()
        self.check_moves(source)

    def begin_with_fault(self, kind, source, destination):
        """Returns True if a session began, and False if the fault came earlier."""
        self.route = CuttableRoute()
        self.addCleanup(self.route.cut)
        more = {}
        if kind.startswith("QMP"):
            at_source = kind.endswith("source")
            command = self.chance.choice(SOURCE_COMMANDS if at_source else DESTINATION_COMMANDS)
            fault = FaultyQmp(source if at_source else destination, command, self.chance.random() < 0.5)
            self.addCleanup(fault.close)
            print(f"{command}: {'hangs up' if fault.hang_up else 'refused'}")
            more["source_at" if at_source else "destination_at"] = fault.at
        try:
            self.begin(source, destination, "--max-bandwidth", LINK, route=self.route.to, **more)
        except vm.Trouble as trouble:
            if not more:
                raise
            print(f"no session: {trouble}")
            return False
        return True

    def strike(self, kind, destination):
        """Half of the faults come in the switchover, which is short."""
        if kind.startswith("QMP"):
            return
        sender = self.migration.sender.process
        if self.chance.random() < 0.5:
            self.migration.has_event('"STOP"')
            print("in the switchover")
            vm.ends_within(sender, self.chance.uniform(0, 0.06))
        else:
            vm.ends_within(sender, self.chance.uniform(0, 1.2))
        if kind.startswith("destination"):
            destination.process.kill()
        elif kind.startswith("network"):
            self.route.cut()
        else:
            victim = sender if kind.startswith("sender") else self.migration.receiver.process
            if victim.poll() is None:
                victim.send_signal(signal.SIGKILL)

    def find_guest(self, kind, source, destination):
        """Where the guest is: "source", "destination", "gone" with the QEMU it had arrived in before that was killed,
        or "undecided" if it was handed over and the answer got lost: then the sender says so, and keeps it paused."""
        migration = self.migration
        sent = migration.sender.wait()
        if kind.startswith(("sender", "QMP error at the source")):
            # A receiver without a sender waits for the next one.
            if not vm.ends_within(migration.receiver.process, 3):
                migration.receiver.process.kill()
        migration.receiver.wait()
        words = migration.words()
        alive = destination.process.poll() is None
        if alive and sent == 0:
            # It may have run for a moment only.
            destination.await_more(1)
            return "destination"
        if alive and not destination.is_silent() and destination.ticks():
            return "destination"
        state = source.state()
        if state == "running":
            return "source"
        if sent == 0 and not alive:
            return "gone"
        # A sender that is killed between its two last steps can say nothing.
        if "was handed over" in migration.sender.words or kind.startswith("sender"):
            return "undecided"
        raise vm.Trouble(f"the guest is '{state}' at the source\n{words}")

    def check_moves(self, source):
        fresh = self.waiting()
        self.begin(source, fresh, "--verify", "digest", *vm.ANY_PAUSE)
        self.check_succeeds()
        fresh.await_more(10)
        vm.check_went_on(source, fresh)
        self.check_runs(fresh)


class Interruptions(runner.Case):
    @each("main", "all")
    def test_a_guest_moves_although_connections_are_lost_in_its_first_round(self, lost):
        source, destination = self.guest(rewrite_mib=32), self.waiting(rewrite_mib=32)
        route = CuttableRoute()
        self.addCleanup(route.cut)
        self.begin(source, destination, "--max-bandwidth", LINK, "--reconnect-timeout", "30s", *vm.ANY_PAUSE,
                   route=route.to)
        self.migration.await_event('"MIGRATION_PASS"')
        vm.ends_within(self.migration.sender.process, self.chance.uniform(0.05, 0.5))
        route.interrupt(end=1 if lost == "main" else None)
        self.check_succeeds()
        outages = self.migration.sent()["outages"]
        self.assertEqual((outages["main-channel-lost"], outages["count"]), (1, 1), self.migration.words())
        self.check_arrived(source, destination)

    @each("main", "all")
    def test_a_guest_runs_on_one_side_although_connections_are_lost_in_its_switchover(self, lost):
        source, destination = self.guest(rewrite_mib=16, rate=16), self.waiting(rewrite_mib=16, rate=16)
        route = CuttableRoute()
        self.addCleanup(route.cut)
        self.begin(source, destination, "--reconnect-timeout", "20s", *vm.ANY_PAUSE, route=route.to)
        self.migration.await_event('"STOP"')
        vm.ends_within(self.migration.sender.process, self.chance.uniform(0, 0.06))
        route.interrupt(end=1 if lost == "main" else None)
        self.check_runs_on_one_side(source, destination)

    def test_a_guest_runs_on_one_side_although_any_connections_are_lost_at_any_moments(self):
        source, destination = self.guest(rewrite_mib=32), self.waiting(rewrite_mib=32)
        route = CuttableRoute()
        self.addCleanup(route.cut)
        self.begin(source, destination, "--max-bandwidth", LINK, "--reconnect-timeout", "20s", *vm.ANY_PAUSE,
                   route=route.to)
        cuts = []
        for _ in range(self.chance.randint(1, 3)):
            event = self.chance.choice(('"MIGRATION_PASS"', '"STOP"'))
            within_s = {'"MIGRATION_PASS"': 0.5, '"STOP"': 0.06}[event]
            if not self.migration.has_event(event) or vm.ends_within(self.migration.sender.process,
                                                                     self.chance.uniform(0, within_s)):
                break
            first = self.chance.randrange(route.count())
            last = self.chance.choice((first + 1, None))
            route.interrupt(first, last)
            cuts.append((event, first, last))
        print("connections cut:", cuts)
        self.check_runs_on_one_side(source, destination)

    def check_runs_on_one_side(self, source, destination):
        codes, words = self.migration.wait(), self.migration.words()
        if codes == (0, 0):
            print("the guest is at: destination", "after a switchover that broke off" if
                  "lost in the switchover" in self.migration.sender.words else "")
            self.check_arrived(source, destination)
            return
        # The destination had loaded the devices, which it can do once.
        print("the guest is at: source")
        self.assertEqual(codes, (1, 1), words)
        self.assertIn("it is used up", self.migration.sender.words, words)
        self.assertEqual(self.migration.sent()["guest-owner"], "source", words)
        self.check_runs(source)


if __name__ == "__main__":
    runner.main(__doc__)
