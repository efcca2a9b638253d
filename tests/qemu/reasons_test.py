#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which reason a user reads, and how soon, if a QEMU or its guest ends, or a QEMU cannot be used, while `migrate` waits
for something else."""

import os
import signal
import subprocess
import time

import runner
import vm
from faults import FaultyQmp
from runner import each

SLOW = ("--max-bandwidth", "2M/s")
SOON_S = 8  # far less than any timeout of the migration


class Case(runner.Case):
    shape = {"rewrite_mib": 16, "rate": 4, "memory_mib": 128}

    def begin_slowly(self, source, destination, *options, **more):
        """In its first round, which takes a minute."""
        self.begin(source, destination, *SLOW, *options, **more)
        self.migration.await_event('"MIGRATION_PASS"')

    def check_fails_soon(self, *words, side=None, code=1):
        side = side or self.migration.sender
        self.assertTrue(vm.ends_within(side.process, SOON_S), side.words)
        self.assertEqual(side.wait(), code, side.words)
        for word in words:
            self.assertIn(word, side.words)
        self.assertNotIn("PAGEMAP_SCAN", side.words)


class Ends(Case):
    def test_a_destination_that_ends_in_a_round_ends_the_migration_at_once(self):
        source, destination = self.guest(), self.waiting()
        self.begin_slowly(source, destination)
        destination.process.kill()
        self.check_fails_soon("has ended")
        self.check_fails_soon("has ended", side=self.migration.receiver)
        self.check_runs(source)

    def test_a_source_that_ends_in_a_round_ends_the_migration_at_once(self):
        source, destination = self.guest(), self.waiting()
        self.begin_slowly(source, destination)
        source.process.kill()
        self.check_fails_soon("has ended")
        self.assertEqual(destination.state(), "inmigrate")

    def test_both_sides_end_if_both_qemus_do(self):
        source, destination = self.guest(), self.waiting()
        self.begin_slowly(source, destination)
        for qemu in (source, destination):
            qemu.process.kill()
        self.check_fails_soon("has ended")
        self.check_fails_soon("has ended", side=self.migration.receiver)

    def test_a_receiver_ends_with_the_qemu_that_it_waits_with(self):
        destination = self.waiting()
        receiver = self.side("recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{destination.qmp_path}")
        receiver.endpoint()
        destination.process.kill()
        self.check_fails_soon("has ended, so no guest can arrive in it", side=receiver, code=3)

    def test_a_qemu_that_ends_before_migrate_continue_ends_the_migration(self):
        source, destination = self.guest(), self.waiting()
        control = self.folder / "control.qmp"
        self.begin(source, destination, "--pause-before-switchover", "on", "--qmp", f"unix:{control}", "--downtime-limit",
                   "5s")
        self.migration.await_event('"pre-switchover"')
        source.process.kill()
        self.check_fails_soon("has ended")


class Upsets(Case):
    # By commands of the human monitor. The last ones write a port as the guest's driver would: pvpanic's, and that of a
    # watchdog of 0 s (0x443 starts it with 30 s less 2 s for each step).
    EVENTS = {
        "a reset": ((), "system_reset", "it was reset (QEMU's event RESET)"),
        "a shutdown": (("-no-reboot", "-no-shutdown"), "system_reset", "it was shut down (QEMU's event SHUTDOWN)"),
        "an end": (("-no-reboot",), "system_reset", "it was shut down (QEMU's event SHUTDOWN)"),
        "a panic": (("-device", "pvpanic", "-action", "panic=pause"), "o /b 0x505 1",
                    "it panicked (QEMU's event GUEST_PANICKED)"),
        "a watchdog that pauses": (("-device", "ib700", "-action", "watchdog=pause"), "o /b 0x443 15",
                                   "its watchdog expired (QEMU's event WATCHDOG)"),
        "a watchdog that sends an NMI": (("-device", "ib700", "-action", "watchdog=inject-nmi"), "o /b 0x443 15",
                                         "its watchdog expired (QEMU's event WATCHDOG)"),
    }

    @each(*EVENTS)
    def test_the_migration_ends_at_once_by(self, what):
        extra, command, words = self.EVENTS[what]
        source, destination = self.guest(extra=extra), self.waiting(extra=extra)
        self.begin_slowly(source, destination)
        with source.operator() as qmp:
            qmp.ask("human-monitor-command", command_line=command)
        self.check_fails_soon(words)
        self.assertIn("the guest is at the source", self.migration.sender.words)
        self.assertEqual(destination.state(), "inmigrate")
        self.assertEqual(destination.ticks(), [])
        if what == "a watchdog that sends an NMI":
            self.check_runs(source)


class Refusals(Case):
    def test_a_receiver_that_refused_a_sender_says_that_it_waits_for_another(self):
        source, destination = self.guest(), self.waiting(smp=2)
        migration = self.begin(source, destination)
        self.assertEqual(migration.sender.wait(), 3, migration.words())
        migration.receiver.await_words("waits for another sender")
        self.check_runs(source)

    def test_a_monitor_that_another_client_holds_is_named(self):
        qemu = self.guest()
        with qemu.qmp():
            began = time.monotonic()
            self.check_refused("another client is connected", "send", "--connect", "127.0.0.1:1", "--source",
                               f"qemu:{qemu.qmp_path}", code=3)
            self.assertLess(time.monotonic() - began, SOON_S)
        qemu.await_more()

    def test_a_destination_that_listens_by_itself_is_told_what_to_change(self):
        qemu = self.own(vm.Qemu(self.image, incoming="tcp:127.0.0.1:0", **self.shape))
        self.check_refused("-incoming defer", "recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{qemu.qmp_path}")

    def test_memory_in_a_file_that_was_unlinked_moves(self):
        source, destination = self.guest(), self.waiting()
        source.memory.unlink()
        self.begin(source, destination, *vm.ANY_PAUSE)
        self.check_succeeds()
        self.check_arrived(source, destination)

    def test_another_users_qemu_is_refused_with_the_remedy(self):
        if os.geteuid() != 0:
            self.skipTest("this needs root")
        qemu = self.guest()
        os.chmod(qemu.qmp_path, 0o777)
        self.folder.chmod(0o755)
        for folder in self.folder.parents[:1]:
            folder.chmod(0o755)
        done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", self.binary, "send", "--connect",
                               "127.0.0.1:1", "--source", f"qemu:{qemu.qmp_path}"], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("run migrate as root", done.stderr)
        qemu.await_more()


class Disks(Case):
    def test_disks_that_stay_behind_are_named(self):
        image, shared = self.folder / "image", self.folder / "shared"
        for path in (image, shared):
            path.write_bytes(bytes(1 << 20))
        extra = ("-drive", f"file={image},format=raw,id=temporary,if=none,snapshot=on", "-device",
                 "virtio-blk-pci,drive=temporary", "-blockdev",
                 f"driver=raw,node-name=shared,file.driver=file,file.filename={shared},file.locking=off", "-device",
                 "virtio-blk-pci,drive=shared,share-rw=on")
        source, destination = self.guest(extra=extra), self.waiting(extra=extra)
        self.begin(source, destination, *vm.ANY_PAUSE)
        self.check_succeeds()
        self.assertIn("warning: the disk 'temporary' is a snapshot (-snapshot)", self.migration.sender.words)
        self.assertIn("'commit temporary' writes it into the image", self.migration.sender.words)
        self.assertIn(f"must have the same image as 'shared' ({shared} here)", self.migration.sender.words)


class Hangs(Case):
    def test_a_stop_without_an_answer_ends_with_that_reason_and_the_guest_runs(self):
        source, destination = self.guest(), self.waiting()
        at = FaultyQmp(source, strikes={"stop": lambda: True})
        self.addCleanup(at.close)
        began = time.monotonic()
        self.begin(source, destination, *vm.ANY_PAUSE, source_at=at.at)
        self.migration.sender.await_words("QEMU has not answered 'stop'")
        self.assertNotEqual(self.migration.sender.wait(), 0)
        print(f"{time.monotonic() - began:.1f} s\n{self.migration.sender.words[-600:]}")
        self.assertIn("stop", self.migration.sender.words)
        self.check_runs(source)

    def test_a_qemu_that_hangs_is_continued_once_it_answers(self):
        source, destination = self.guest(), self.waiting()

        def hang():
            os.kill(source.pid, signal.SIGSTOP)
        at = FaultyQmp(source, strikes={"stop": hang})
        self.addCleanup(at.close)
        self.begin(source, destination, *vm.ANY_PAUSE, source_at=at.at)
        self.assertTrue(vm.ends_within(self.migration.sender.process, 40), self.migration.sender.words)
        self.assertIn("a process stays behind to let it run again", self.migration.sender.words)
        os.kill(source.pid, signal.SIGCONT)
        source.await_state("running")
        self.check_runs(source)


if __name__ == "__main__":
    runner.main(__doc__)
