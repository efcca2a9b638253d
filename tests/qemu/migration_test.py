#!/usr/bin/env python3
"""Usage: migration_test.py MIGRATE

Moves a guest that writes and checks its memory between two running, unmodified QEMUs over 8 channels, there and back.
MIGRATE_TEST_MOVES sets how often (default 2, once in each direction); MIGRATE_TEST_KVM=1 uses KVM.
"""

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import vm
from faults import FaultyQmp

QEMUS_BANDWIDTH = 128 << 20  # its default
MIGRATE = ""
FOLDER = None
IMAGE = None


def passes(qemu):
    """The guest's sums over all its memory, by the number of the pass."""
    with qemu.changed:
        return {line.split()[1]: line.split()[3] for _, line in qemu.lines if line.startswith("pass ") and
                len(line.split()) == 4 and len(line.split()[3]) == 16}


class Moves(unittest.TestCase):
    def move(self, source, destination, *options, **more):
        migration = vm.Migration(MIGRATE, source, destination, FOLDER, "--verify", "digest", *options, **more)
        self.addCleanup(migration.end)
        codes = migration.wait()
        self.assertEqual(codes, (0, 0), migration.words())
        destination.await_more()
        vm.check_went_on(source, destination)
        self.assertTrue(source.is_silent(), "the guest runs at the source, too")
        return migration

    def boot(self, **options):
        qemu = vm.Qemu(IMAGE, **options)
        self.addCleanup(qemu.kill)
        qemu.await_boot()
        return qemu

    def waiting(self, **options):
        qemu = vm.Qemu(IMAGE, incoming=True, **options)
        self.addCleanup(qemu.kill)
        return qemu

    def test_there_and_back(self):
        source = self.boot(rewrite_mib=32, rate=64)
        sums = {}
        for turn in range(int(os.environ.get("MIGRATE_TEST_MOVES", "2"))):
            destination = self.waiting(rewrite_mib=32, rate=64)
            migration = self.move(source, destination)
            self.assertEqual(source.state(), "postmigrate")
            sent = migration.sent()
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
        # A guest that never moved says what each pass's sum is.
        with vm.Qemu(IMAGE, rewrite_mib=32, rate=200) as still:
            still.await_boot()
            wanted = max(map(int, sums))
            still.await_line(lambda line: line.startswith(f"pass {min(wanted, 6)} "), 120)
            expected = passes(still)
        compared = [number for number in sums if number in expected]
        self.assertGreater(len(compared), 1)
        for number in compared:
            self.assertEqual(sums[number], expected[number], f"pass {number}")

    def test_settings_are_put_back(self):
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
        refused(self, "QMP's `cont`", "send", "--connect", "127.0.0.1:1", "--source", f"qemu:{source.qmp_path}")
        with destination.qmp() as qmp:
            self.assertFalse(any(entry["state"] for entry in qmp.ask("query-migrate-capabilities")))
        left = [link for link in Path(f"/proc/{source.pid}/fd").iterdir() if "userfaultfd" in os.readlink(link)]
        self.assertEqual(left, [])

    def test_two_numa_nodes_and_quit_source(self):
        source, destination = self.boot(backend="numa"), self.waiting(backend="numa")
        self.move_and_quit(source, destination)

    def test_memfd_without_a_name(self):
        source, destination = self.boot(backend="memfd"), self.waiting(backend="memfd")
        with source.qmp() as qmp:
            version = qmp.ask("query-version")["qemu"]
        if (version["major"], version["minor"]) < (8, 1):
            self.move(source, destination)
            return
        done = subprocess.run([MIGRATE, "send", "--connect", "127.0.0.1:1", "--source", f"qemu:{source.qmp_path}"],
                              capture_output=True, text=True, timeout=60)
        self.assertIn("is a memfd", done.stderr)
        source.await_more()

    def move_and_quit(self, source, destination):
        migration = vm.Migration(MIGRATE, source, destination, FOLDER, "--quit-source", "on")
        self.addCleanup(migration.end)
        self.assertEqual(migration.wait(), (0, 0), migration.words())
        destination.await_more()
        self.assertEqual(source.process.wait(30), 0)
        vm.check_went_on(source, destination)

    def test_hash_tracker(self):
        source, destination = self.boot(), self.waiting()
        self.move(source, destination, "--dirty-tracker", "hash")

    def test_a_paused_guest_stays_paused(self):
        source, destination = self.boot(), self.waiting()
        with source.qmp() as qmp:
            qmp.ask("stop")
        migration = vm.Migration(MIGRATE, source, destination, FOLDER)
        self.addCleanup(migration.end)
        self.assertEqual(migration.wait(), (0, 0), migration.words())
        self.assertEqual(destination.state(), "paused")
        self.assertTrue(destination.is_silent())
        with destination.qmp() as qmp:
            qmp.ask("cont")
        destination.await_more()
        vm.check_went_on(source, destination)

    def test_throttled(self):
        source, destination = self.boot(rewrite_mib=64, rate=64), self.waiting(rewrite_mib=64, rate=64)
        migration = self.move(source, destination, "--max-bandwidth", "40M/s", "--auto-converge", "on",
                              "--cpu-throttle-initial", "50", "--cpu-throttle-increment", "30", "--downtime-limit",
                              "200ms")
        throttles = [entry["cpu-throttle-percentage"] for entry in migration.sent()["rounds"]]
        self.assertGreater(max(throttles), 0, throttles)


    def test_files_in_a_folder(self):
        source, destination = self.boot(backend="folder"), self.waiting(backend="folder")
        self.move(source, destination)

    def test_direct_io_is_not_tracked_by_marks(self):
        disk = Path(FOLDER) / "disk"
        disk.write_bytes(bytes(1 << 20))
        extra = ("-blockdev", f"driver=raw,node-name=d,cache.direct=on,file.driver=file,file.filename={disk},"
                 "file.locking=off,file.cache.direct=on", "-device", "virtio-blk-pci,drive=d")
        source, destination = self.boot(extra=extra), self.waiting(extra=extra)
        refused(self, "direct I/O", "send", "--connect", "127.0.0.1:1", "--source", f"qemu:{source.qmp_path}",
                "--dirty-tracker", "uffd-wp")
        # To compare hashes of all memory takes a while on a busy machine.
        migration = self.move(source, destination, "--downtime-limit", "5s")
        self.assertEqual(migration.sent()["guest"]["dirty-tracker"], "hash")


class Faults(unittest.TestCase):
    """Those that the random ones of failure_test.py meet too seldom."""

    def start(self, *options, paused=False, at_source=None, at_destination=None):
        """The guest's QEMU, the waiting one, and the migration from one to the other, with faults in between."""
        source = vm.Qemu(IMAGE)
        self.addCleanup(source.kill)
        source.await_boot()
        if paused:
            with source.qmp() as qmp:
                qmp.ask("stop")
        destination = vm.Qemu(IMAGE, incoming=True)
        self.addCleanup(destination.kill)
        more = {}
        for side, qemu, fault in (("source_at", source, at_source), ("destination_at", destination, at_destination)):
            if fault is not None:
                proxy = FaultyQmp(qemu, **fault)
                self.addCleanup(proxy.close)
                more[side] = proxy.at
        self.migration = vm.Migration(MIGRATE, source, destination, FOLDER, *options, **more)
        self.addCleanup(self.migration.end)
        return source, destination

    def test_the_guardian_dies_as_the_guest_begins_to_run(self):
        def kill():
            os.kill(self.migration.receiver.children()[0], signal.SIGKILL)
        source, destination = self.start(at_destination={"strikes": {"cont": kill}})
        self.assertEqual(self.migration.wait(), (0, 0), self.migration.words())
        destination.await_more()
        self.assertEqual(source.state(), "postmigrate")

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
            with source.qmp() as qmp:
                qmp.ask("cont")
        source.await_more()

    def test_a_guest_runs_again_once_its_qmp_can_be_reached(self):
        source, _ = self.start(at_source={"command": "migrate", "hang_up": True, "deaf_s": 3})
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        source.await_state("running")
        source.await_more()
        source.await_settings((set(), QEMUS_BANDWIDTH))

    def test_a_paused_guest_that_failed_late_says_what_to_do(self):
        source, _ = self.start(paused=True, at_destination={"command": "migrate-incoming"})
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        self.assertIn("stays paused, in QEMU's state 'postmigrate'", self.migration.sender.words)
        refused(self, "was migrated before", "send", "--connect", "127.0.0.1:1", "--source",
                f"qemu:{source.qmp_path}")
        with source.qmp() as qmp:
            qmp.ask("cont")
            qmp.ask("stop")
        fresh = vm.Qemu(IMAGE, incoming=True)
        self.addCleanup(fresh.kill)
        again = vm.Migration(MIGRATE, source, fresh, FOLDER)
        self.addCleanup(again.end)
        self.assertEqual(again.wait(), (0, 0), again.words())
        self.assertEqual(fresh.state(), "paused")


def refused(test, reason, *arguments, code=3):
    done = subprocess.run([MIGRATE, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    test.assertEqual(done.returncode, code, done.stderr)
    test.assertIn(reason, done.stderr)


class Refusals(unittest.TestCase):
    def refused(self, *arguments):
        refused(self, *arguments)

    def test_devices_that_write_from_outside(self):
        with vm.Qemu(IMAGE) as qemu:
            qemu.await_boot()
            for command, answer, reason in (
                    ("human-monitor-command", "net0: index=0,type=vhost-user,vhost-user to c\r\n",
                     "has -netdev vhost-user, whose process"),
                    ("human-monitor-command", "net0: index=0,type=vhost-vdpa\r\n", "has -netdev vhost-vdpa: a device"),
                    ("qom-list", [{"name": "gpu", "type": "child<vfio-pci>"}], "has vfio-pci: a device")):
                with self.subTest(reason):
                    proxy = FaultyQmp(qemu, command, answer=answer)
                    self.addCleanup(proxy.close)
                    self.refused(reason, "send", "--connect", "127.0.0.1:1", "--source", f"qemu:{proxy.at}",
                                 "--dirty-tracker", "uffd-wp")
            qemu.await_more()

    def test_private_memory(self):
        with vm.Qemu(IMAGE, backend="private") as qemu:
            qemu.await_boot()
            self.refused("private to QEMU", "send", "--connect", "127.0.0.1:1", "--source", f"qemu:{qemu.qmp_path}")
            qemu.await_more()

    def test_a_destination_that_does_not_wait(self):
        with vm.Qemu(IMAGE) as qemu:
            qemu.await_boot()
            self.refused("-incoming defer", "recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{qemu.qmp_path}")
            qemu.await_more()

    def test_other_sizes(self):
        with vm.Qemu(IMAGE) as source, vm.Qemu(IMAGE, incoming=True, memory_mib=320) as destination:
            source.await_boot()
            migration = vm.Migration(MIGRATE, source, destination, FOLDER)
            try:
                self.assertEqual(migration.sender.wait(), 3)
                self.assertIn("memory differs", migration.sender.words)
            finally:
                migration.end()
            source.await_more()

    def test_nobody_there(self):
        self.refused("nobody listens there", "send", "--connect", "127.0.0.1:1", "--source", "qemu:/nowhere/vm.qmp")


class Processes(unittest.TestCase):
    """A process that is no VMM, and knows nothing of it."""

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
        # As a balloon does.
        memory.madvise(mmap.MADV_REMOVE, offset * 3 % len(memory), 4096)
    if count % 20 == 0:
        time.sleep(0.001)
"""

    def test_what_is_not_paused_is_not_verified(self):
        file = Path(f"/dev/shm/migrate-test-{os.getpid()}.ram")
        file.write_bytes(bytes(1 << 20))
        writer = subprocess.Popen([sys.executable, "-c", self.PROGRAM, file], stdout=subprocess.PIPE)
        try:
            writer.stdout.readline()
            refused(self, "pause=none", "send", "--source", f"pid:{writer.pid},map={file}", "--connect",
                    "127.0.0.1:1", "--verify", "digest", code=2)
        finally:
            writer.kill()
            writer.wait()
            writer.stdout.close()
            file.unlink()

    def test_memory_of_a_process_moves_while_it_writes(self):
        for pause, options in (("sigstop", ("--verify", "digest")), ("none", ())):
            with self.subTest(pause):
                self.copy(pause, options)

    def copy(self, pause, options):
        file, copy = (Path(f"/dev/shm/migrate-test-{os.getpid()}.{name}") for name in ("ram", "copy"))
        file.write_bytes(os.urandom(16 << 20))
        writer = subprocess.Popen([sys.executable, "-c", self.PROGRAM, file], stdout=subprocess.PIPE)
        receiver = vm.Side(MIGRATE, "recv", "--listen", "127.0.0.1:0", "--sink", f"file:{copy}")
        try:
            writer.stdout.readline()
            receiver.await_words("listening on ")
            sender = vm.Side(MIGRATE, "send", "--source", f"pid:{writer.pid},map={file},pause={pause}", "--connect",
                             receiver.words.split("listening on ")[1].split()[0], "--multifd-channels", 8, *options)
            self.assertEqual((sender.wait(), receiver.wait()), (0, 0), sender.words + receiver.words)
            stopped = Path(f"/proc/{writer.pid}/stat").read_text().split(") ")[1][0] == "T"
            self.assertEqual(stopped, pause == "sigstop")
            if stopped:
                self.assertEqual(file.read_bytes(), copy.read_bytes())
            sender.end()
        finally:
            receiver.end()
            writer.kill()
            writer.wait()
            writer.stdout.close()
            file.unlink()
            copy.unlink(missing_ok=True)


if __name__ == "__main__":
    MIGRATE = sys.argv.pop(1)
    vm.require_guest()
    with tempfile.TemporaryDirectory() as folder:
        FOLDER, IMAGE = folder, vm.build_initramfs(folder)
        unittest.main()
