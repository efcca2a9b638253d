#!/usr/bin/env python3
"""Usage: ownership_test.py MIGRATE [unittest's arguments]

Who runs the guest, when another client of QEMU stops, continues, resets or migrates it meanwhile, and when a QEMU or a
`migrate` ends at the wrong moment: never two guests, never a torn copy, never none without a word.
MIGRATE_TEST_REPEAT repeats each case (default 1), with seeds from MIGRATE_TEST_SEED (default 1) on.
"""

import functools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import vm
from faults import CuttableRoute, FaultyQmp

REPEAT = int(os.environ.get("MIGRATE_TEST_REPEAT", "1"))
SEED = int(os.environ.get("MIGRATE_TEST_SEED", "1"))
MIGRATE = ""
FOLDER = None
IMAGE = None
# The guest writes slowly: the rounds end soon, and the moments of interest are in the switchover.
GUEST = {"rewrite_mib": 16, "rate": 4, "memory_mib": 128}
DISTURBED = "did not stand still"
UNKNOWN = "run on one side only"


def repeated(case):
    @functools.wraps(case)
    def run(self):
        for turn in range(REPEAT):
            self.chance = random.Random(SEED + turn)
            with self.subTest(seed=SEED + turn):
                try:
                    case(self)
                finally:
                    self.doCleanups()
    return run


class Case(unittest.TestCase):
    def boot(self, **more):
        """The guest, and a second monitor of its QEMU for the other client."""
        path = Path(tempfile.gettempdir()) / f"migrate-other-{os.getpid()}-{vm.Qemu.count}.qmp"
        qemu = vm.Qemu(IMAGE, extra=("-qmp", f"unix:{path},server=on,wait=off"), **GUEST, **more)
        self.addCleanup(path.unlink, missing_ok=True)
        self.addCleanup(qemu.kill)
        qemu.other = path
        qemu.await_boot()
        return qemu

    def waiting(self):
        path = Path(tempfile.gettempdir()) / f"migrate-other-{os.getpid()}-{vm.Qemu.count}.qmp"
        qemu = vm.Qemu(IMAGE, incoming=True, extra=("-qmp", f"unix:{path},server=on,wait=off"), **GUEST)
        self.addCleanup(path.unlink, missing_ok=True)
        self.addCleanup(qemu.kill)
        qemu.other = path
        return qemu

    def proxy(self, qemu, **fault):
        proxy = FaultyQmp(qemu, **fault)
        self.addCleanup(proxy.close)
        return proxy.at

    def start(self, source, destination, *options, **more):
        # A busy machine may take long over a switchover.
        self.migration = vm.Migration(MIGRATE, source, destination, FOLDER, "--downtime-limit", "2s", *options,
                                      channels=2, **more)
        self.addCleanup(self.migration.end)
        return self.migration

    def fails(self, *words):
        code = self.migration.sender.wait()
        self.assertNotEqual(code, 0, self.migration.words())
        for word in words:
            self.assertIn(word, self.migration.sender.words, self.migration.words())

    def check_never_ran(self, qemu):
        self.assertEqual(qemu.ticks(), [], "the guest ran at the destination")

    def check_runs(self, qemu):
        qemu.await_more(10)
        self.assertEqual(qemu.ticks()[-1][3], 0, "pages are wrong")


def ask(qemu, *commands):
    """By the other client."""
    with vm.Qmp(qemu.other) as qmp:
        for command in commands:
            qmp.ask(command)


def hand_over(qemu):
    """Another client migrates the guest, to its end."""
    with vm.Qmp(qemu.other) as qmp:
        qmp.ask("migrate", uri="exec:cat >/dev/null")
        until = time.monotonic() + vm.WAIT_S
        while (status := qmp.ask("query-migrate").get("status")) != "completed":
            if time.monotonic() > until or status == "failed":
                raise vm.Trouble(f"the other client's migration is '{status}'")
            time.sleep(0.01)
        while qmp.ask("query-status")["status"] != "postmigrate":
            time.sleep(0.01)


class SplitBrain(Case):
    """A guest that another client has handed over must not run here again."""

    @repeated
    def test_handed_over_while_it_was_paused(self):
        source, destination = self.boot(), self.waiting()
        # The guest is paused, and its devices are about to be saved.
        moment = self.chance.choice(("getfd", "migrate-set-capabilities", "query-migrate-parameters"))
        at = self.proxy(source, strikes={moment: lambda: hand_over(source)})
        self.start(source, destination, source_at=at)
        self.fails()
        time.sleep(0.3)
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.assertTrue(source.is_silent())
        self.assertIn("another client of QEMU", self.migration.sender.words)
        self.check_never_ran(destination)

    @repeated
    def test_a_migration_that_begins_under_our_settings_is_cancelled(self):
        """It would carry no memory, as ours of the devices."""
        source, destination = self.boot(), self.waiting()

        def strike():
            with vm.Qmp(source.other) as qmp:
                qmp.ask("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover",
                                                                   "state": True}])
                qmp.ask("migrate", uri="exec:cat >/dev/null")
        self.start(source, destination, source_at=self.proxy(source, strikes={"migrate": strike}))
        self.fails()
        source.await_state("running", 20)
        with source.qmp() as qmp:
            self.assertEqual(qmp.ask("query-migrate")["status"], "cancelled", self.migration.words())
        self.check_runs(source)
        self.check_never_ran(destination)

    @repeated
    def test_continued_and_handed_over_after_our_own_save(self):
        source, destination = self.boot(), self.waiting()

        def strike():
            ask(source, "cont")
            hand_over(source)
        at = self.proxy(destination, strikes={"migrate-incoming": strike})
        self.start(source, destination, destination_at=at)
        self.fails()
        time.sleep(0.3)
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.assertIn("another client of QEMU", self.migration.sender.words)
        self.check_never_ran(destination)

    @repeated
    def test_handed_over_during_the_rounds(self):
        source, destination = self.boot(), self.waiting()
        self.start(source, destination, "--max-bandwidth", "20M/s")
        self.migration.sender.await_words("connected to")
        time.sleep(self.chance.uniform(0, 0.5))
        hand_over(source)
        self.fails("another client of QEMU", "postmigrate")
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.check_never_ran(destination)

    @repeated
    def test_the_guardian_leaves_what_was_handed_over(self):
        source, destination = self.boot(), self.waiting()

        def strike():
            hand_over(source)
            self.migration.sender.process.kill()
            return True
        at = self.proxy(source, strikes={self.chance.choice(("getfd", "query-migrate-parameters")): strike})
        self.start(source, destination, source_at=at)
        self.assertEqual(self.migration.sender.wait(), -signal.SIGKILL)
        self.migration.sender.await_words("another client of QEMU has handed it over", 20)
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.assertTrue(source.is_silent())
        self.check_never_ran(destination)

    @repeated
    def test_the_guardian_gives_back_what_is_ours(self):
        source, destination = self.boot(), self.waiting()
        where = self.chance.choice(("source", "destination"))

        def kill():
            self.migration.sender.process.kill()
            return self.chance.random() < 0.5
        moment = self.chance.choice(("getfd", "migrate") if where == "source" else ("getfd", "migrate-incoming"))
        at = self.proxy(source if where == "source" else destination, strikes={moment: kill})
        self.start(source, destination, **{f"{where}_at": at})
        self.assertEqual(self.migration.sender.wait(), -signal.SIGKILL)
        source.await_state("running", 20)
        self.check_runs(source)
        source.await_settings((set(), 128 << 20))
        self.check_never_ran(destination)

    @repeated
    def test_a_migration_in_progress_is_let_be(self):
        """Another client's migration that began while the guest was paused: the guest waits for its end, and runs on
        if that fails."""
        source, destination = self.boot(), self.waiting()
        other = []

        def strike():
            other.append(vm.Qmp(source.other))
            other[0].ask("migrate-set-parameters", max_bandwidth=1 << 20)
            other[0].ask("migrate", uri="exec:cat >/dev/null")
        at = self.proxy(source, strikes={"getfd": strike})
        self.start(source, destination, source_at=at)
        self.fails("another client of QEMU")
        with other[0] as qmp:
            self.assertEqual(qmp.ask("query-migrate")["status"], "active", self.migration.words())
            self.assertEqual(qmp.ask("query-status")["status"], "paused")
            qmp.ask("migrate_cancel")
        source.await_state("running", 20)
        self.check_runs(source)
        self.check_never_ran(destination)

    @repeated
    def test_a_migration_that_begins_before_cont_is_carried_out_cannot_end(self):
        """The look at the guest is old by the time its `cont` arrives."""
        source, destination = self.boot(), self.waiting()
        status = []

        def migrate():
            with vm.Qmp(source.other) as qmp:
                qmp.ask("migrate", uri="exec:cat >/dev/null")
                until = time.monotonic() + 20
                while time.monotonic() < until:
                    status.append(qmp.ask("query-migrate").get("status"))
                    if status[-1] in ("pre-switchover", "completed", "failed"):
                        return
                    time.sleep(0.01)
        at = self.proxy(source, command="getfd", strikes={"cont": migrate})
        self.start(source, destination, source_at=at)
        self.fails()
        self.assertIn(status[-1], ("pre-switchover", "failed"), status)
        time.sleep(2)
        # Let through, it completes, and the guest is the other client's.
        source.await_state("postmigrate", 20)
        self.assertTrue(source.is_silent())
        source.await_settings((set(), 128 << 20))


class OneAtATime(Case):
    """A second migration of the same QEMU is refused."""

    def refused(self, *arguments, prefix=()):
        began = time.monotonic()
        done = subprocess.run([*prefix, MIGRATE, *map(str, arguments)], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("in use by another migration", done.stderr)
        self.assertLess(time.monotonic() - began, 10)

    def second_send(self, path, **more):
        self.refused("send", "--connect", "127.0.0.1:1", "--source", f"qemu:{path}", **more)

    @repeated
    def test_a_second_migration_is_refused_by_whichever_way_it_comes(self):
        source, destination = self.boot(), self.waiting()
        self.start(source, destination, "--max-bandwidth", "4M/s")
        self.migration.sender.await_words("connected to")
        self.second_send(source.qmp_path)
        self.second_send(source.other)
        self.second_send(f"{source.other},pid={source.pid}")
        self.second_send(source.other, prefix=("unshare", "--mount", "--net", "--ipc", "--uts"))
        self.second_send(source.other, prefix=("unshare", "--user", "--map-root-user", "--net"))
        self.second_send(source.other, prefix=("unshare", "--pid", "--fork", "--mount-proc"))
        self.second_send(destination.other)
        self.refused("recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{source.other}")
        self.refused("recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{destination.other}")
        self.refused("send", "--connect", "127.0.0.1:1", "--source",
                     f"pid:{source.pid},map={source.memory},pause=sigstop")
        self.migration.sender.process.send_signal(signal.SIGINT)
        self.fails()
        self.check_runs(source)

    @repeated
    def test_a_guardian_at_work_keeps_the_claim(self):
        source, destination = self.boot(), self.waiting()

        def strike():
            # The guardian does not get through for a while.
            at.deaf_until = time.monotonic() + 5
            self.migration.sender.process.kill()
            return True
        at = FaultyQmp(source, strikes={"getfd": strike})
        self.addCleanup(at.close)
        self.start(source, destination, source_at=at.at)
        # Its output ends with the guardian only.
        self.assertEqual(self.migration.sender.process.wait(vm.WAIT_S), -signal.SIGKILL)
        self.second_send(source.other)
        source.await_state("running", 20)
        self.check_runs(source)
        self.migration.receiver.end()
        # It is gone by now, and the claim with it.
        fresh = self.waiting()
        until = time.monotonic() + 10
        while True:
            self.start(source, fresh)
            code = self.migration.sender.wait()
            if code == 0 or time.monotonic() > until:
                break
            self.migration.end()
        self.assertEqual(code, 0, self.migration.words())


class Disturbed(Case):
    """Whoever else touches a guest that stands still for its last round ends the migration."""

    MOMENTS = (("source", "migrate-set-capabilities"), ("source", "getfd"), ("source", "migrate"),
               ("destination", "getfd"), ("destination", "migrate-incoming"))

    def disturb(self, *commands, options=(), words=(DISTURBED,)):
        source, destination = self.boot(), self.waiting()
        side, moment = self.chance.choice(self.MOMENTS)
        at = self.proxy(source if side == "source" else destination,
                        strikes={moment: lambda: ask(source, *commands)})
        self.start(source, destination, *options, **{f"{side}_at": at})
        self.fails(*words)
        self.assertNotEqual(self.migration.receiver.wait(), 0, self.migration.words())
        time.sleep(0.2)
        self.check_never_ran(destination)
        return source

    @repeated
    def test_continued(self):
        self.check_runs(self.disturb("cont", words=(DISTURBED, "RESUME")))

    @repeated
    def test_continued_with_the_digest(self):
        """The digests differ, but that is not the reason."""
        self.check_runs(self.disturb("cont", options=("--verify", "digest"), words=(DISTURBED, "RESUME")))

    @repeated
    def test_continued_and_stopped_again(self):
        """Nothing of it is to be seen but the events; and the guest is the other client's to continue."""
        source = self.disturb("cont", "stop", words=(DISTURBED, "RESUME"))
        # "postmigrate" if it came after the devices were saved.
        self.assertIn(source.state(), ("paused", "postmigrate"), self.migration.words())
        self.assertTrue(source.is_silent())
        ask(source, "cont")
        self.check_runs(source)

    @repeated
    def test_reset(self):
        source = self.disturb("system_reset", words=(DISTURBED, "RESET"))
        source.await_state("running", 20)
        seen = len(source.lines)
        source.await_line(lambda line: line.startswith("tick 1 "), vm.BOOT_S, seen)

    @repeated
    def test_asked_to_power_down(self):
        self.check_runs(self.disturb("system_powerdown", words=(DISTURBED, "POWERDOWN")))

    @repeated
    def test_a_flood_of_events_hides_nothing(self):
        """More events than are kept come after the one that matters."""
        source, destination = self.boot(), self.waiting()

        def strike():
            with vm.Qmp(source.other) as qmp:
                qmp.ask("cont")
                for _ in range(1200):
                    qmp.ask("stop")
                    qmp.ask("cont")
                qmp.ask("stop")
        self.start(source, destination, destination_at=self.proxy(destination, strikes={"getfd": strike}))
        self.fails(DISTURBED, "RESUME")
        self.check_never_ran(destination)
        self.assertTrue(source.is_silent())

    @repeated
    def test_disturbed_while_it_waits_for_migrate_continue(self):
        source, destination = self.boot(), self.waiting()
        control = Path(tempfile.gettempdir()) / f"migrate-control-{os.getpid()}.qmp"
        self.start(source, destination, "--pause-before-switchover", "on", "--qmp", f"unix:{control}")
        with vm.Qmp(control) as qmp:
            until = time.monotonic() + vm.WAIT_S
            while qmp.ask("query-migrate").get("status") != "pre-switchover":
                self.assertLess(time.monotonic(), until, self.migration.words())
                time.sleep(0.01)
            ask(source, "cont")
            try:
                qmp.ask("migrate-continue", state="pre-switchover")
            except (vm.Trouble, OSError):
                pass
        self.fails(DISTURBED, "RESUME")
        self.check_runs(source)
        self.check_never_ran(destination)


class Operator(Case):
    """Whether the guest runs at the destination is what its operator said last."""

    def move_with(self, *commands, paused=False, final="paused"):
        source, destination = self.boot(), self.waiting()
        if paused:
            ask(source, "stop")
        self.start(source, destination, "--max-bandwidth", "25M/s")
        self.migration.sender.await_words("connected to")
        time.sleep(self.chance.uniform(0, 0.3))
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

    @repeated
    def test_stopped_during_the_rounds(self):
        self.move_with("stop")

    @repeated
    def test_stopped_and_continued(self):
        self.move_with("stop", "cont", final="running")

    @repeated
    def test_paused_before_and_continued(self):
        self.move_with("cont", paused=True, final="running")

    @repeated
    def test_a_guest_that_its_operator_paused_stays_paused_after_a_failure(self):
        source, destination = self.boot(), self.waiting()
        kill = self.chance.random() < 0.5

        def strike():
            if kill:
                self.migration.sender.process.kill()
            else:
                destination.process.kill()
        self.start(source, destination, "--max-bandwidth", "25M/s",
                   destination_at=self.proxy(destination, strikes={"getfd": strike}))
        self.migration.sender.await_words("connected to")
        ask(source, "stop")
        self.assertNotEqual(self.migration.sender.wait(), 0)
        time.sleep(0.5)
        self.assertIn(source.state(), ("paused", "postmigrate"), self.migration.words())
        self.assertTrue(source.is_silent())
        ask(source, "cont")
        self.check_runs(source)

    @repeated
    def test_a_guest_in_another_state_is_let_be(self):
        """A disk that fails, with werror=stop, pauses the guest in 'io-error'; here QEMU's debugger does as much."""
        source, destination = self.boot(), self.waiting()
        self.start(source, destination, "--max-bandwidth", "25M/s")
        self.migration.sender.await_words("connected to")
        with vm.Qmp(source.other) as qmp:
            qmp.ask("stop")
            qmp.ask("system_reset")
            while qmp.ask("query-status")["status"] != "prelaunch":
                time.sleep(0.01)
        self.fails("'prelaunch'")
        self.assertEqual(source.state(), "prelaunch")
        self.check_never_ran(destination)


class DestinationEnds(Case):
    """A guest that was handed over runs on one side, or both sides say that it is not known."""

    def finish(self, source, destination):
        codes = self.migration.wait()
        self.assertNotEqual(codes[0], 0, self.migration.words())
        self.assertNotEqual(codes[1], 0, self.migration.words())
        time.sleep(0.2)
        if source.state() == "running":
            self.check_runs(source)
        else:
            self.assertIn(UNKNOWN, self.migration.sender.words, self.migration.words())
            self.assertTrue(source.is_silent())
        return codes

    @repeated
    def test_it_is_killed_at_cont(self):
        source, destination = self.boot(), self.waiting()
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
            self.assertEqual(source.state(), "postmigrate")
            return
        self.finish(source, destination)

    @repeated
    def test_a_paused_guest_whose_destination_is_killed_at_the_end(self):
        source, destination = self.boot(), self.waiting()
        ask(source, "stop")
        calls = []

        def kill():
            calls.append(0)
            destination.process.kill()
        at = FaultyQmp(destination, strikes={"migrate-set-parameters": lambda: calls.append(1)})
        self.addCleanup(at.close)
        at.strikes["migrate-incoming"] = lambda: at.strikes.update({"query-status": lambda: at.strikes.update(
            {"query-status": kill}) and False})
        self.start(source, destination, destination_at=at.at)
        codes = self.migration.wait()
        self.assertNotEqual(codes[0], 0, self.migration.words())
        self.assertNotEqual(codes[1], 0, self.migration.words())
        self.assertTrue(source.is_silent())

    @repeated
    def test_it_does_not_answer(self):
        """It is stopped at `cont`: nobody can say whether the guest runs."""
        source, destination = self.boot(), self.waiting()
        at = self.proxy(destination, strikes={"cont": lambda: destination.process.send_signal(signal.SIGSTOP)})
        self.start(source, destination, destination_at=at)
        codes = self.migration.sender.wait(120), self.migration.receiver.wait(120)
        self.assertNotEqual(codes[0], 0, self.migration.words())
        self.assertNotEqual(codes[1], 0, self.migration.words())
        self.assertIn(UNKNOWN, self.migration.sender.words, self.migration.words())
        self.assertIn("does not say whether the guest runs here", self.migration.receiver.words)
        self.assertTrue(source.is_silent())
        # Whether it takes the command that waits for it or not: nobody runs the guest elsewhere.
        destination.process.send_signal(signal.SIGCONT)
        self.assertTrue(source.is_silent(2))

    @repeated
    def test_another_client_resets_what_arrived(self):
        source, destination = self.boot(), self.waiting()

        def strike():
            ask(destination, "system_reset")
            time.sleep(0.1)
        at = FaultyQmp(destination)
        self.addCleanup(at.close)
        # The first question after the guest was loaded is answered; the next comes at the handover.
        at.strikes["migrate-incoming"] = lambda: at.strikes.update(
            {"query-status": lambda: at.strikes.update({"query-status": strike}) and False})
        self.start(source, destination, destination_at=at.at)
        self.fails("RESET")
        self.assertEqual(destination.process.wait(20), 0)
        self.check_runs(source)


class GivenBackAtOnce(Case):
    def gap(self, source, act):
        """How long the guest stood still, by QEMU's own events, from act() on."""
        with vm.Qmp(source.other) as qmp:
            act()
            self.assertNotEqual(self.migration.sender.wait(), 0)
            qmp.ask("query-status")
            times = {event["event"]: event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
                     for event in qmp.events}
        self.assertIn("RESUME", times, self.migration.words())
        return times["RESUME"] - times["STOP"]

    @repeated
    def test_a_lost_channel(self):
        source, destination = self.boot(), self.waiting()
        control = Path(tempfile.gettempdir()) / f"migrate-control-{os.getpid()}.qmp"
        route = CuttableRoute()
        self.addCleanup(route.cut)
        struck = []

        def strike():
            struck.append(time.time())
            if self.chance.random() < 0.5:
                route.cut_data()
            else:
                route.cut()
            time.sleep(0.05)
        self.start(source, destination, "--qmp", f"unix:{control}", route=route.to,
                   source_at=self.proxy(source, strikes={"getfd": strike}))
        gap = self.gap(source, lambda: None)
        self.assertLess(gap, 0.6, self.migration.words())
        self.check_runs(source)


if __name__ == "__main__":
    MIGRATE = sys.argv.pop(1)
    vm.require_guest()
    with tempfile.TemporaryDirectory() as folder:
        FOLDER, IMAGE = folder, vm.build_initramfs(folder)
        unittest.main()
