#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which QEMU runs the guest when its operator, or another client of QEMU, stops, continues or resets it during a
migration: never two guests, never a torn copy, never none without a message."""

import runner
import vm
from ownership_case import LOADS, SAVES, Case, ask

DISTURBED = "did not stay paused"


class Disturbed(Case):
    """Another client that touches a guest while it is paused for its last round ends the migration."""

    MOMENTS = (*(("source", moment) for moment in SAVES if moment != "query-migrate-parameters"),
               *(("destination", moment) for moment in LOADS))

    def disturb(self, *commands, options=(), words=(DISTURBED,)):
        source, destination = self.both()
        side, moment = self.chance.choice(self.MOMENTS)
        print(f"at {moment} to the {side}")
        at = self.proxy(source if side == "source" else destination,
                        strikes={moment: lambda: ask(source, *commands)})
        self.start(source, destination, *options, **{f"{side}_at": at})
        self.check_fails(*words)
        self.assertNotEqual(self.migration.receiver.wait(), 0, self.migration.words())
        self.check_never_ran(destination)
        return source

    def test_a_guest_that_is_continued_ends_the_migration(self):
        self.check_runs(self.disturb("cont", words=(DISTURBED, "RESUME")))

    def test_a_guest_that_is_continued_ends_the_migration_before_the_digests_are_compared(self):
        """The digests differ, but that is not the reason."""
        self.check_runs(self.disturb("cont", options=("--verify", "digest"), words=(DISTURBED, "RESUME")))

    def test_a_guest_that_is_continued_and_stopped_ends_the_migration_and_stays_paused(self):
        """Only the events show it; and only the other client may continue the guest."""
        source = self.disturb("cont", "stop", words=(DISTURBED, "RESUME"))
        # "postmigrate" if it came after the devices were saved.
        self.assertIn(source.state(), ("paused", "postmigrate"), self.migration.words())
        self.assertTrue(source.is_silent())
        ask(source, "cont")
        self.check_runs(source)

    def test_a_guest_that_is_reset_ends_the_migration(self):
        source = self.disturb("system_reset", words=(DISTURBED, "RESET"))
        source.await_state("running", 20)
        seen = len(source.lines)
        source.await_line(lambda line: line.startswith("tick 1 "), vm.BOOT_S, seen)

    def test_a_guest_that_is_asked_to_power_down_ends_the_migration(self):
        self.check_runs(self.disturb("system_powerdown", words=(DISTURBED, "POWERDOWN")))

    def test_a_flood_of_events_hides_nothing(self):
        """More events than are kept come after the one that matters."""
        source, destination = self.both()

        def strike():
            with source.operator() as qmp:
                qmp.ask("cont")
                for _ in range(1200):
                    qmp.ask("stop")
                    qmp.ask("cont")
                qmp.ask("stop")
        self.start(source, destination, destination_at=self.proxy(destination, strikes={LOADS[0]: strike}))
        self.check_fails(DISTURBED, "RESUME")
        self.check_never_ran(destination)
        self.assertTrue(source.is_silent())

    def test_a_guest_that_is_continued_before_migrate_continue_ends_the_migration(self):
        source, destination = self.both()
        control = self.folder / "control.qmp"
        self.start(source, destination, "--pause-before-switchover", "on", "--qmp", f"unix:{control}")
        self.migration.await_event('"pre-switchover"')
        with vm.Qmp(control) as qmp:
            ask(source, "cont")
            try:
                qmp.ask("migrate-continue", state="pre-switchover")
            except (vm.Trouble, OSError):
                pass
        self.check_fails(DISTURBED, "RESUME")
        self.check_runs(source)
        self.check_never_ran(destination)


class Operator(Case):
    """The operator's last command decides whether the guest runs at the destination."""

    def move_with(self, *commands, paused=False, final="paused"):
        source, destination = self.both()
        if paused:
            ask(source, "stop")
        self.start(source, destination, "--max-bandwidth", "25M/s")
        self.strike_within(0.3)
        ask(source, *commands)
        self.assertEqual(self.migration.wait(), (0, 0), self.migration.words())
        self.assertEqual(destination.state(), final, self.migration.words())
        if final == "paused":
            self.assertTrue(destination.is_silent())
            with destination.qmp() as qmp:
                qmp.ask("cont")
        destination.await_more(10)
        vm.check_went_on(source, destination)
        self.assertTrue(source.is_silent())

    def test_a_guest_that_is_stopped_during_the_rounds_arrives_paused(self):
        self.move_with("stop")

    def test_a_guest_that_is_stopped_and_continued_arrives_running(self):
        self.move_with("stop", "cont", final="running")

    def test_a_guest_that_was_paused_and_is_continued_arrives_running(self):
        self.move_with("cont", paused=True, final="running")

    def test_a_guest_that_its_operator_paused_stays_paused_after_a_failure(self):
        source, destination = self.both()
        kill = self.chance.random() < 0.5

        def strike():
            if kill:
                self.migration.sender.process.kill()
            else:
                destination.process.kill()
        self.start(source, destination, "--max-bandwidth", "25M/s",
                   destination_at=self.proxy(destination, strikes={LOADS[0]: strike}))
        self.migration.sender.await_words("connected to")
        ask(source, "stop")
        self.assertNotEqual(self.migration.sender.wait(), 0)
        self.assertIn(source.state(), ("paused", "postmigrate"), self.migration.words())
        self.assertTrue(source.is_silent())
        ask(source, "cont")
        self.check_runs(source)

    def test_a_guest_in_another_state_keeps_it(self):
        """A disk that fails, with werror=stop, pauses the guest in 'io-error'; here QEMU's debugger does as much."""
        source, destination = self.both()
        self.start(source, destination, "--max-bandwidth", "25M/s")
        self.migration.sender.await_words("connected to")
        with source.operator() as qmp:
            qmp.ask("stop")
            qmp.ask("system_reset")
            vm.eventually(lambda: qmp.ask("query-status")["status"] == "prelaunch")
        self.check_fails("'prelaunch'")
        self.assertEqual(source.state(), "prelaunch")
        self.check_never_ran(destination)


if __name__ == "__main__":
    runner.main(__doc__)
