#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which QEMU runs the guest when another client of QEMU migrates it meanwhile, and when a QEMU or a `migrate` ends at
the wrong moment: never two guests, never a torn copy, never none without a message."""

import signal
import threading
import time

import runner
import vm
from faults import CuttableRoute
from ownership_case import LOADS, PROGRAM, SAVES, Case, ask, hand_over, migrate_away

SETTINGS = (set(), 128 << 20)  # QEMU's own: no capability, max-bandwidth
UNKNOWN = "run on one side only"
HANDED_OVER = "another client of QEMU"


class SplitBrain(Case):
    """A guest that another client has handed over must not run at the source again."""

    def test_a_guest_handed_over_while_it_was_paused_stays_with_the_other_client(self):
        source, destination = self.both()
        # The guest is paused, and its devices are about to be saved.
        moment = self.chance.choice(SAVES[:3])
        at = self.proxy(source, strikes={moment: lambda: hand_over(source)})
        self.start(source, destination, source_at=at)
        self.check_fails()
        self.check_handed_over(source)
        self.assertIn(HANDED_OVER, self.migration.sender.words)
        self.check_never_ran(destination)

    def test_a_migration_that_begins_under_our_settings_is_cancelled(self):
        """It would carry no memory, as the sender's own of the devices does not."""
        self.require_own_migration()
        source, destination = self.both()

        def strike():
            with source.operator() as qmp:
                qmp.ask("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover",
                                                                   "state": True}])
                qmp.ask("migrate", uri=PROGRAM)
        self.start(source, destination, source_at=self.proxy(source, strikes={"migrate": strike}))
        self.check_fails()
        source.await_state("running", 20)
        with source.qmp() as qmp:
            self.assertEqual(qmp.ask("query-migrate")["status"], "cancelled", self.migration.words())
        self.check_runs(source)
        self.check_never_ran(destination)

    def test_a_cancel_that_qemu_misses_is_completed(self):
        """QEMU 7.2 misses some of those that come just before its migration waits in pre-switchover."""
        self.require_own_migration()
        source, destination = self.both()

        def migrate():
            with source.operator() as qmp:
                qmp.ask("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover",
                                                                   "state": True}])
                qmp.ask("migrate", uri=PROGRAM)

        def delay():
            vm.ends_within(self.migration.sender.process, self.chance.uniform(0, 0.004))
        # The sender's own migration is refused; the other client's begins just before the sender looks for one.
        at = self.proxy(source, command="migrate")
        at.strikes.update({"migrate": lambda: at.strikes.update({"query-migrate": migrate}), "migrate_cancel": delay})
        self.start(source, destination, source_at=at)
        self.check_fails()
        source.await_state("running", 20)
        self.check_runs(source)
        source.await_settings(SETTINGS)
        self.check_never_ran(destination)

    def test_a_guest_continued_and_handed_over_after_its_devices_were_saved_stays_with_the_other_client(self):
        source, destination = self.both()

        def strike():
            ask(source, "cont")
            hand_over(source)
        at = self.proxy(destination, strikes={"migrate-incoming": strike})
        self.start(source, destination, destination_at=at)
        self.check_fails()
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.assertIn(HANDED_OVER, self.migration.sender.words)
        self.check_never_ran(destination)

    def test_a_destination_that_another_client_gives_a_guest_meanwhile_is_left_to_it(self):
        """QEMU takes one guest: it refuses ours, which must then not end it."""
        source, destination = self.both()

        def strike():
            with destination.operator() as qmp:
                qmp.ask("migrate-incoming", uri="tcp:127.0.0.1:0")
        self.start(source, destination, destination_at=self.proxy(destination, strikes={"migrate-incoming": strike}))
        self.check_fails("refused the guest", "another client")
        self.assertNotEqual(self.migration.receiver.wait(), 0, self.migration.words())
        self.assertEqual(destination.state(), "inmigrate", self.migration.words())
        self.check_runs(source)
        self.check_never_ran(destination)

    def test_a_guest_handed_over_during_the_rounds_stays_with_the_other_client(self):
        source, destination = self.both()
        self.start(source, destination, "--max-bandwidth", "20M/s")
        self.strike_within(0.5)
        hand_over(source)
        self.check_fails(HANDED_OVER, "postmigrate")
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.check_never_ran(destination)

    def test_the_guardian_does_not_continue_a_guest_that_was_handed_over(self):
        source, destination = self.both()

        def strike():
            hand_over(source)
            self.migration.sender.process.kill()
            return True
        at = self.proxy(source, strikes={self.chance.choice(SAVES[::2]): strike})
        self.start(source, destination, source_at=at)
        self.assertEqual(self.migration.sender.wait(), -signal.SIGKILL)
        self.migration.sender.await_words("another client of QEMU has handed over the guest", 20)
        self.check_handed_over(source)
        self.check_never_ran(destination)

    def test_the_guardian_continues_a_guest_that_the_sender_paused(self):
        source, destination = self.both()
        where = self.chance.choice(("source", "destination"))

        def kill():
            self.migration.sender.process.kill()
            return self.chance.random() < 0.5
        moment = self.chance.choice(SAVES[::3] if where == "source" else LOADS)
        at = self.proxy(source if where == "source" else destination, strikes={moment: kill})
        self.start(source, destination, **{f"{where}_at": at})
        self.assertEqual(self.migration.sender.wait(), -signal.SIGKILL)
        source.await_state("running", 20)
        self.check_runs(source)
        source.await_settings(SETTINGS)
        self.check_never_ran(destination)

    def test_the_guest_stays_paused_while_another_migration_is_in_progress(self):
        """Another client's migration that began while the guest was paused: the guest waits for its end, and runs on
        if that fails."""
        source, destination = self.both()
        other = []

        def strike():
            other.append(source.operator())
            other[0].ask("migrate-set-parameters", max_bandwidth=1 << 20)
            other[0].ask("migrate", uri=PROGRAM)
        at = self.proxy(source, strikes={SAVES[0]: strike})
        self.start(source, destination, source_at=at)
        self.check_fails(HANDED_OVER)
        with other[0] as qmp:
            self.assertEqual(qmp.ask("query-migrate")["status"], "active", self.migration.words())
            self.assertEqual(qmp.ask("query-status")["status"], "paused")
            qmp.ask("migrate_cancel")
        source.await_state("running", 20)
        self.check_runs(source)
        self.check_never_ran(destination)

    def test_a_migration_that_begins_before_cont_is_carried_out_cannot_end(self):
        """The guest's state has changed by the time its `cont` arrives."""
        source, destination = self.both()
        status = []

        def migrate():
            status.append(migrate_away(source, ("pre-switchover", "completed")))
        at = self.proxy(source, command=SAVES[0], strikes={"cont": migrate})
        self.start(source, destination, source_at=at)
        self.check_fails()
        self.assertIn(status[-1], ("pre-switchover", "failed"), status)
        # It is let through, completes, and the guest is the other client's.
        source.await_state("postmigrate", 20)
        self.assertTrue(source.is_silent())
        source.await_settings(SETTINGS)


class OneAtATime(Case):
    """A second migration of the same QEMU is refused."""

    def check_in_use(self, *arguments, prefix=()):
        began = time.monotonic()
        self.check_refused("in use by another migration", *arguments, prefix=prefix)
        self.assertLess(time.monotonic() - began, 10)

    def second_send(self, path, **more):
        self.check_in_use("send", "--connect", "127.0.0.1:1", "--source", f"qemu:{path}", **more)

    def test_a_second_migration_is_refused_by_whichever_way_it_comes(self):
        source, destination = self.both()
        self.start(source, destination, "--max-bandwidth", "4M/s")
        self.migration.sender.await_words("connected to")
        self.second_send(source.qmp_path)
        self.second_send(source.operator_path)
        self.second_send(f"{source.operator_path},pid={source.pid}")
        self.second_send(source.operator_path, prefix=("unshare", "--mount", "--net", "--ipc", "--uts"))
        self.second_send(source.operator_path, prefix=("unshare", "--user", "--map-root-user", "--net"))
        self.second_send(source.operator_path, prefix=("unshare", "--pid", "--fork", "--mount-proc"))
        self.second_send(destination.operator_path)
        self.check_in_use("recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{source.operator_path}")
        self.check_in_use("recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{destination.operator_path}")
        self.check_in_use("send", "--connect", "127.0.0.1:1", "--source",
                     f"pid:{source.pid},map={source.memory},pause=sigstop")
        self.migration.sender.process.send_signal(signal.SIGINT)
        self.check_fails()
        self.check_runs(source)

    def test_a_second_migration_is_refused_while_a_guardian_works(self):
        source, destination = self.both()

        def strike():
            # The guardian does not get through for a while.
            at.deaf_until = time.monotonic() + 5
            self.migration.sender.process.kill()
            return True
        at = self.proxy(source, strikes={SAVES[0]: strike})
        self.start(source, destination, source_at=at)
        # Its output ends with the guardian only.
        self.assertEqual(self.migration.sender.process.wait(vm.WAIT_S), -signal.SIGKILL)
        self.second_send(source.operator_path)
        source.await_state("running", 20)
        self.check_runs(source)
        self.migration.receiver.end()
        # It is gone by now, and the claim with it.
        self.migration.sender.wait()
        self.start(source, self.waiting())
        self.check_succeeds()


class DestinationEnds(Case):
    """A guest that was handed over runs on one side, or both sides say that it is not known."""

    def finish(self, source, destination):
        codes = self.migration.wait()
        self.assertNotEqual(codes[0], 0, self.migration.words())
        self.assertNotEqual(codes[1], 0, self.migration.words())
        if source.state() == "running":
            self.check_runs(source)
        else:
            self.assertIn(UNKNOWN, self.migration.sender.words, self.migration.words())
            self.assertTrue(source.is_silent())
        return codes

    def test_a_destination_that_is_killed_at_cont_leaves_one_guest_or_a_message(self):
        source, destination = self.both()
        how = self.chance.choice(("before", "after", "instead"))

        def kill():
            if how == "after":
                threading.Timer(self.chance.uniform(0, 0.002), destination.process.kill).start()
                return False
            destination.process.kill()
            return how == "instead"
        at = self.proxy(destination, strikes={"cont": kill})
        self.start(source, destination, destination_at=at)
        if how != "after":
            self.finish(source, destination)
            self.assertEqual(source.state(), "running", self.migration.words())
            return
        codes = self.migration.wait()
        if codes == (0, 0):
            # It had answered first: the guest arrived, and ended with its QEMU.
            self.assertEqual(source.state(), vm.HANDED_OVER_STATE)
            return
        self.finish(source, destination)

    def test_a_paused_guest_whose_destination_is_killed_at_the_end_stays_paused(self):
        source, destination = self.both()
        ask(source, "stop")
        at = self.proxy(destination)
        at.strikes["migrate-incoming"] = lambda: at.strikes.update({"query-status": lambda: at.strikes.update(
            {"query-status": destination.process.kill}) and False})
        self.start(source, destination, destination_at=at)
        codes = self.migration.wait()
        self.assertNotEqual(codes[0], 0, self.migration.words())
        self.assertNotEqual(codes[1], 0, self.migration.words())
        self.assertTrue(source.is_silent())

    def test_a_destination_that_does_not_answer_at_cont_is_reported_by_both_sides(self):
        """It is stopped by a signal at `cont`: neither side can know whether the guest runs."""
        source, destination = self.both()
        at = self.proxy(destination, strikes={"cont": lambda: destination.process.send_signal(signal.SIGSTOP)})
        self.start(source, destination, destination_at=at)
        codes = self.migration.sender.wait(120), self.migration.receiver.wait(120)
        self.assertNotEqual(codes[0], 0, self.migration.words())
        self.assertNotEqual(codes[1], 0, self.migration.words())
        self.assertIn(UNKNOWN, self.migration.sender.words, self.migration.words())
        self.assertIn("does not say whether the guest runs here", self.migration.receiver.words)
        self.assertTrue(source.is_silent())
        # The source must stay paused even if the destination's QEMU now carries out the waiting command.
        destination.process.send_signal(signal.SIGCONT)
        self.assertTrue(source.is_silent(2))

    def test_a_guest_that_is_reset_after_it_arrived_runs_on_at_the_source(self):
        source, destination = self.both()

        def strike():
            with destination.operator() as qmp:
                qmp.ask("system_reset")
                qmp.await_event("RESET")
        at = self.proxy(destination)
        # The first question after the guest was loaded is answered; the next comes at the handover.
        at.strikes["migrate-incoming"] = lambda: at.strikes.update(
            {"query-status": lambda: at.strikes.update({"query-status": strike}) and False})
        self.start(source, destination, destination_at=at)
        self.check_fails("RESET")
        self.assertEqual(destination.process.wait(20), 0)
        self.check_runs(source)


class GivenBackAtOnce(Case):
    def test_a_lost_channel_in_the_switchover_costs_less_than_a_second(self):
        source, destination = self.both()
        route = CuttableRoute()
        self.addCleanup(route.cut)
        seen = source.control.seen()

        def strike():
            if self.chance.random() < 0.5:
                route.cut_data()
            else:
                route.cut()
            # The sender sees that before QEMU's answer.
            vm.ends_within(self.migration.sender.process, 0.05)
        self.start(source, destination, "--qmp", f"unix:{self.folder}/control.qmp", route=route.to,
                   source_at=self.proxy(source, strikes={SAVES[0]: strike}))
        self.assertNotEqual(self.migration.sender.wait(), 0)
        stopped, resumed = (vm.time_of(source.control.await_event(name, seen)) for name in ("STOP", "RESUME"))
        self.assertLess(resumed - stopped, 0.6, self.migration.words())
        self.check_runs(source)


if __name__ == "__main__":
    runner.main(__doc__)
