#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Moves a guest that writes and checks its memory between two running, unmodified QEMUs over 8 channels, there and
back; and what else is moved or refused. MIGRATE_TEST_MOVES sets how often the guest moves there and back (default 2, once in each
direction); MIGRATE_TEST_KVM=1 uses KVM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import runner
import vm
from faults import FaultyQmp
from runner import each

QEMUS_BANDWIDTH = 128 << 20  # its default
NOWHERE = "127.0.0.1:1"


def passes(qemu):
    """The guest's sums over all its memory, by the number of the pass."""
    with qemu.changed:
        return {line.split()[1]: line.split()[3] for _, line in qemu.lines if line.startswith("pass ") and
                len(line.split()) == 4 and len(line.split()[3]) == 16}


class Case(runner.Case):
    def check_send_refused(self, reason, source, *options):
        self.check_refused(reason, "send", "--connect", NOWHERE, "--source", f"qemu:{source}", *options)


class Moves(Case):
    def move(self, source, destination, *options, pause=vm.ANY_PAUSE):
        migration = self.begin(source, destination, "--verify", "digest", *pause, *options)
        self.check_succeeds()
        self.check_arrived(source, destination)
        self.assertTrue(source.is_silent(), "the guest runs at the source, too")
        return migration

    def test_a_guest_moves_there_and_back(self):
        source = self.boot(rewrite_mib=32, rate=64)
        sums = {}
        for turn in range(runner.MOVES):
            destination = self.waiting(rewrite_mib=32, rate=64)
            sent = self.move(source, destination).sent()
            self.assertEqual(source.state(), vm.HANDED_OVER_STATE)
            print(f"move {turn + 1}: total {sent['total-time']} ms, downtime {sent['downtime-us'] / 1000:.1f} ms with "
                  f"the digest, gap {vm.gap_between(source, destination) * 1000:.0f} ms, a thread stood still for "
                  f"{sent['guest'].get('attach-us', '?')} us, {sent['guest']['dirty-tracker']}", flush=True)
            sums.update(passes(source))
            source.kill()
            source = destination
            source.await_more(40)
        # A pass that began before the last move and one after it, however fast the moves were.
        last = max(map(int, sums), default=0)
        source.await_line(lambda line: line.startswith(f"pass {max(last + 2, 3)} "), 120)
        sums.update(passes(source))
        self.assertGreater(len(sums), 2)
        source.kill()
        self.check_sums(sums)

    def check_sums(self, sums):
        """A guest that never moved prints the same sum of each pass."""
        still = self.boot(rewrite_mib=32, rate=200)
        still.await_line(lambda line: line.startswith(f"pass {min(max(map(int, sums)), 6)} "), 120)
        expected = passes(still)
        compared = [number for number in sums if number in expected]
        self.assertGreater(len(compared), 1)
        for number in compared:
            self.assertEqual(sums[number], expected[number], f"pass {number}")

    def test_settings_of_qemu_are_put_back(self):
        source = self.boot()
        with source.qmp() as qmp:
            qmp.ask("migrate-set-capabilities", capabilities=[{"capability": "xbzrle", "state": True}])
            qmp.ask("migrate-set-parameters", max_bandwidth=12345678)
            before = qmp.ask("query-migrate-capabilities")
        destination = self.waiting()
        self.move(source, destination)
        with source.qmp() as qmp:
            self.assertEqual(qmp.ask("query-migrate-capabilities"), before)
            self.assertEqual(qmp.ask("query-migrate-parameters")["max-bandwidth"], 12345678)
        self.check_send_refused("remove-fd" if vm.MOVES_BLOCKS else "QMP's `cont`", source.qmp_path)
        with destination.qmp() as qmp:
            self.assertFalse(any(entry["state"] for entry in qmp.ask("query-migrate-capabilities")))
        left = [link for link in Path(f"/proc/{source.pid}/fd").iterdir() if "userfaultfd" in os.readlink(link)]
        self.assertEqual(left, [])

    def test_two_numa_nodes_move_and_the_source_quits(self):
        source, destination = self.boot(backend="numa"), self.waiting(backend="numa")
        self.begin(source, destination, "--quit-source", "on")
        self.check_succeeds()
        destination.await_more()
        self.assertEqual(source.process.wait(30), 0)
        vm.check_went_on(source, destination)

    def test_a_memfd_without_a_name_moves(self):
        source, destination = self.guest(backend="memfd"), self.waiting(backend="memfd")
        self.move(source, destination)

    def test_a_guest_moves_with_the_hash_tracker(self):
        migration = self.move(self.guest(), self.waiting(), "--dirty-tracker", "hash")
        # The guest's own speed, as far as it can be seen from outside.
        self.assertGreater(migration.sent()["guest"]["vcpu-percent-during"], 0)

    def test_a_paused_guest_stays_paused(self):
        source, destination = self.guest(), self.waiting()
        source.control.ask("stop")
        self.begin(source, destination)
        self.check_succeeds()
        self.assertEqual(destination.state(), "paused")
        self.assertTrue(destination.is_silent())
        destination.control.ask("cont")
        self.check_arrived(source, destination)

    def test_a_guest_that_writes_faster_than_the_link_is_throttled(self):
        source, destination = self.guest(rewrite_mib=64, rate=64), self.waiting(rewrite_mib=64, rate=64)
        migration = self.move(source, destination, "--max-bandwidth", "40M/s", "--avail-switchover-bandwidth", "40M/s",
                              "--auto-converge", "on", "--cpu-throttle-initial", "50", "--cpu-throttle-increment", "30",
                              pause=("--downtime-limit", "1s"))
        throttles = [entry["cpu-throttle-percentage"] for entry in migration.sent()["rounds"]]
        self.assertGreater(max(throttles), 0, throttles)

    def test_memory_in_files_of_a_folder_moves(self):
        self.move(self.guest(backend="folder"), self.waiting(backend="folder"))

    def test_direct_io_is_not_tracked_by_marks(self):
        disk = self.folder / "disk"
        disk.write_bytes(bytes(1 << 20))
        extra = ("-blockdev", f"driver=raw,node-name=d,cache.direct=on,file.driver=file,file.filename={disk},"
                 "file.locking=off,file.cache.direct=on", "-device", "virtio-blk-pci,drive=d")
        source, destination = self.guest(extra=extra), self.waiting(extra=extra)
        self.check_send_refused("direct I/O", source.qmp_path, "--dirty-tracker", "uffd-wp")
        migration = self.move(source, destination)
        self.assertEqual(migration.sent()["guest"]["dirty-tracker"], "hash")


class Faults(Case):
    """Faults that the random ones of failure_test.py meet too seldom."""

    def start(self, *options, paused=False, at_source=None, at_destination=None):
        """The guest's QEMU, the waiting one, and the migration from one to the other, with faults in between."""
        source, destination = self.guest(), self.waiting()
        if paused:
            source.control.ask("stop")
        more = {}
        for side, qemu, fault in (("source_at", source, at_source), ("destination_at", destination, at_destination)):
            if fault is not None:
                proxy = FaultyQmp(qemu, **fault)
                self.addCleanup(proxy.close)
                more[side] = proxy.at
        self.begin(source, destination, *options, **more)
        return source, destination

    def test_a_guardian_that_dies_as_the_guest_begins_to_run_does_no_harm(self):
        def kill():
            os.kill(self.migration.receiver.children()[0], signal.SIGKILL)
        source, destination = self.start(at_destination={"strikes": {"cont": kill}})
        self.check_succeeds()
        destination.await_more()
        self.assertEqual(source.state(), vm.HANDED_OVER_STATE)

    def test_a_guest_that_may_not_run_is_not_left_to_run(self):
        """`cont` is refused, and the receiver dies before it can end its QEMU: the guardian does that."""
        def kill():
            self.migration.receiver.process.kill()
            return True
        source, destination = self.start(at_destination={"command": "cont", "strikes": {"quit": kill}})
        code = self.migration.sender.wait()
        destination.process.wait(30)
        self.assertEqual(destination.ticks(), [])
        # Failed with the guest at the source, or its owner is unknown.
        self.assertEqual(code, 1 if source.state() == "running" else 6, self.migration.words())
        if code == 6:
            self.assertIn("was handed over", self.migration.sender.words)
            source.control.ask("cont")
        source.await_more()

    def test_a_guest_runs_again_once_its_qmp_can_be_reached(self):
        command = "xen-save-devices-state" if vm.MOVES_BLOCKS else "migrate"
        source, _ = self.start(at_source={"command": command, "hang_up": True, "deaf_s": 3})
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        source.await_state("running")
        source.await_more()
        source.await_settings((set(), QEMUS_BANDWIDTH))

    def test_a_paused_guest_whose_migration_fails_late_can_be_migrated_again(self):
        source, _ = self.start(paused=True, at_destination={"command": "migrate-incoming"})
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        if not vm.MOVES_BLOCKS:
            self.assertIn("stays paused, in QEMU's state 'postmigrate'", self.migration.sender.words)
            self.check_send_refused("was migrated before", source.qmp_path)
            with source.qmp() as qmp:
                qmp.ask("cont")
                qmp.ask("stop")
        fresh = self.waiting()
        self.migration.end()
        self.begin(source, fresh)
        self.check_succeeds()
        self.assertEqual(fresh.state(), "paused")


class Refusals(Case):
    @each(("human-monitor-command", "net0: index=0,type=vhost-user,vhost-user to c\r\n",
           "has -netdev vhost-user, whose process"),
          ("human-monitor-command", "net0: index=0,type=vhost-vdpa\r\n", "has -netdev vhost-vdpa: a device"),
          ("qom-list", [{"name": "gpu", "type": "child<vfio-pci>"}], "has vfio-pci: a device"),
          names=("vhost-user", "vhost-vdpa", "vfio-pci"))
    def test_a_device_that_writes_from_outside_is_refused(self, fault):
        command, answer, reason = fault
        qemu = self.guest()
        proxy = FaultyQmp(qemu, command, answer=answer)
        self.addCleanup(proxy.close)
        self.check_send_refused(reason, proxy.at, "--dirty-tracker", "uffd-wp")
        qemu.await_more()

    def test_private_memory_of_a_qemu_that_does_not_tell_its_address_is_refused(self):
        if vm.MOVES_BLOCKS:
            self.skipTest("this QEMU tells it")
        qemu = self.guest(backend="private")
        self.check_send_refused("private to QEMU", qemu.qmp_path)
        qemu.await_more()

    def test_a_destination_that_does_not_wait_is_refused(self):
        qemu = self.boot()
        self.check_refused("-incoming defer", "recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{qemu.qmp_path}")
        qemu.await_more()

    def test_memory_of_another_size_is_refused(self):
        source = self.guest()
        migration = self.begin(source, self.waiting(memory_mib=320))
        self.assertEqual(migration.sender.wait(), 3)
        self.assertIn("memory differs", migration.sender.words)
        source.await_more()

    def test_a_qmp_socket_that_is_not_there_is_refused(self):
        self.check_send_refused("no process listens there", "/nowhere/vm.qmp")


class Processes(Case):
    """A process that is no VMM, and knows nothing of the migration."""

    # It pauses so that the migration can converge.
    PROGRAM = """
import mmap, os, sys, time
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
print("ready", flush=True)
count = 0
while True:
    count += 1
    offset = count * 7919 % (len(memory) // 4096) * 4096
    memory[offset:offset + 8] = count.to_bytes(8, "little")
    if count % 5 == 0:
        # A balloon does this, too.
        memory.madvise(mmap.MADV_REMOVE, offset * 3 % len(memory), 4096)
    if count % 20 == 0:
        time.sleep(0.001)
"""

    def memory_file(self, name, content):
        path = Path(f"/dev/shm/migrate-test-{os.getpid()}.{name}")
        path.write_bytes(content)
        self.addCleanup(path.unlink)
        return path

    def writer(self, file):
        process = subprocess.Popen([*vm.END_WITH_PARENT, sys.executable, "-c", self.PROGRAM, file],
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdout.readline()
        return process

    def test_memory_of_a_process_that_is_not_paused_is_not_verified(self):
        file = self.memory_file("ram", bytes(1 << 20))
        self.check_refused("pause=none", "send", "--source", f"pid:{self.writer(file).pid},map={file}", "--connect",
                           NOWHERE, "--verify", "digest", code=2)

    @each("sigstop", "none")
    def test_memory_of_a_process_moves_while_it_writes(self, pause):
        file, copy = self.memory_file("ram", self.chance.randbytes(16 << 20)), self.memory_file("copy", b"")
        writer = self.writer(file)
        receiver = self.side("recv", "--listen", "127.0.0.1:0", "--sink", f"file:{copy}")
        options = ("--verify", "digest", *vm.ANY_PAUSE) if pause == "sigstop" else ()
        sender = self.side("send", "--source", f"pid:{writer.pid},map={file},pause={pause}", "--connect",
                           receiver.endpoint(), "--multifd-channels", 8, *options)
        self.assertEqual((sender.wait(), receiver.wait()), (0, 0), sender.words + receiver.words)
        stopped = Path(f"/proc/{writer.pid}/stat").read_text().split(") ")[1][0] == "T"
        self.assertEqual(stopped, pause == "sigstop")
        if stopped:
            self.assertEqual(file.read_bytes(), copy.read_bytes())


if __name__ == "__main__":
    runner.main(__doc__)
