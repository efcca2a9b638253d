#!/usr/bin/env python3
"""Usage: change_test.py MIGRATE

Memory and disks of a QEMU are changed through another QMP client while its guest is migrated, at either side. The
migration ends with the reason and the guest runs on at the source, or what was changed does no harm.
"""

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

import vm

MIGRATE = ""
FOLDER = None
IMAGE = None


def memory_file(qemu, name):
    """QEMU's kill() removes it."""
    return Path(f"/dev/shm/migrate-test-{qemu.name}.mem-{name}")


def add_backend(qmp, qemu, name, mib=64):
    qmp.ask("object-add", qom_type="memory-backend-file", id=name, size=mib << 20, share=True,
            mem_path=str(memory_file(qemu, name)))


def plug(qmp, name, driver="pc-dimm"):
    qmp.ask("device_add", driver=driver, id=f"dev-{name}", memdev=name)


def disk_file(name):
    path = Path(FOLDER) / name
    path.write_bytes(bytes(1 << 20))
    return path


def add_disk(qmp, name, direct, aio="threads"):
    """A file below a raw format below a throttle filter; no device uses it."""
    file = {"driver": "file", "filename": str(disk_file(name)), "aio": aio, "cache": {"direct": direct},
            "locking": "off"}
    qmp.ask("object-add", qom_type="throttle-group", id=f"group-{name}")
    qmp.ask("blockdev-add", driver="throttle", node_name=name, throttle_group=f"group-{name}",
            file={"driver": "raw", "cache": {"direct": direct}, "file": file})


class Case(unittest.TestCase):
    source = None  # a guest whose tests leave it as it was

    @classmethod
    def tearDownClass(cls):
        Case.drop_source()

    @staticmethod
    def drop_source():
        if Case.source is not None:
            Case.source.kill()
        Case.source = None

    def boot(self, **options):
        qemu = vm.Qemu(IMAGE, slots=4, rewrite_mib=32, **options)
        self.addCleanup(qemu.kill)
        qemu.await_boot()
        return qemu

    def guest(self):
        """A guest that the migrations of this program's tests leave at the source."""
        if Case.source is None:
            Case.source = vm.Qemu(IMAGE, slots=4, rewrite_mib=32)
            Case.source.await_boot()
        return Case.source

    def waiting(self, **options):
        qemu = vm.Qemu(IMAGE, slots=4, rewrite_mib=32, incoming=True, **options)
        self.addCleanup(qemu.kill)
        return qemu

    def begin(self, source, destination, *options, link="40M/s", **more):
        """A migration in its first round, which takes seconds; the switchover follows it, however slow the host is."""
        events = Path(FOLDER) / "events"
        events.unlink(missing_ok=True)
        self.migration = vm.Migration(MIGRATE, source, destination, FOLDER, "--events", events, "--max-bandwidth",
                                      link, "--downtime-limit", "20s", *options, **more)
        self.addCleanup(self.migration.end)
        self.await_event(events, '"MIGRATION_PASS"')
        return self.migration

    def await_event(self, events, wanted):
        until = time.monotonic() + vm.WAIT_S
        while not (events.exists() and wanted in events.read_text()):
            if time.monotonic() > until or self.migration.sender.process.poll() is not None:
                raise vm.Trouble(f"no event {wanted}:\n{self.migration.words()[-2000:]}")
            time.sleep(0.005)

    def assert_stays(self, source, destination, *reasons):
        """The migration fails with the reason, before the handover; the guest runs at the source, and nowhere else."""
        codes = self.migration.wait()
        words = self.migration.words()
        self.assertNotIn(0, codes, words)
        for reason in reasons:
            self.assertIn(reason, self.migration.sender.words)
        source.await_more()
        self.assertEqual(source.ticks()[-1][3], 0)
        self.assertEqual(source.state(), "running")
        self.assertEqual(destination.ticks(), [], "the guest runs at the destination, too")

    def assert_moves(self, source, destination):
        self.assertEqual(self.migration.wait(), (0, 0), self.migration.words())
        destination.await_more()
        vm.check_went_on(source, destination)

    def move(self, source, destination):
        # A digest takes long beside another program's load.
        self.migration = vm.Migration(MIGRATE, source, destination, FOLDER, "--verify", "digest", "--downtime-limit",
                                      "10s")
        self.addCleanup(self.migration.end)
        self.assert_moves(source, destination)


class WithBackends(Case):
    def both_with_a_backend(self):
        """A spare backend at either side, which no device uses."""
        source, destination = self.guest(), self.waiting()
        for qemu in (source, destination):
            with qemu.operator() as qmp:
                add_backend(qmp, qemu, "d1")
        self.addCleanup(self.remove_backend, source)
        return source, destination

    def remove_backend(self, source):
        if source is not Case.source:
            return
        with source.operator() as qmp:
            if "d1" in {backend["id"] for backend in qmp.ask("query-memdev")}:
                qmp.ask("object-del", id="d1")
        memory_file(source, "d1").unlink(missing_ok=True)


class MemoryAtTheSource(WithBackends):
    def test_a_backend_is_added(self):
        source, destination = self.guest(), self.waiting()
        self.begin(source, destination)
        self.addCleanup(self.remove_backend, source)
        with source.operator() as qmp:
            add_backend(qmp, source, "d1")
        self.assert_stays(source, destination, "a memory backend 'd1' (64 MiB) was added")

    def test_a_backend_that_was_there_is_plugged(self):
        source, destination = self.both_with_a_backend()
        self.begin(source, destination)
        self.addCleanup(self.drop_source)
        with source.operator() as qmp:
            plug(qmp, "d1")
        self.assert_stays(source, destination, "a dimm device 'dev-d1' of the memory backend 'd1' was plugged")

    def test_memory_is_plugged_while_the_guest_is_paused(self):
        source, destination = self.guest(), self.waiting()
        self.begin(source, destination, "--pause-before-switchover", "on", "--qmp", f"unix:{FOLDER}/sender.qmp",
                   link="400M/s")
        self.await_event(Path(FOLDER) / "events", '"pre-switchover"')
        self.addCleanup(self.drop_source)
        with source.operator() as qmp:
            add_backend(qmp, source, "d1")
            plug(qmp, "d1")
        with vm.Qmp(Path(FOLDER) / "sender.qmp") as qmp:
            qmp.ask("migrate-continue", state="pre-switchover")
        self.assert_stays(source, destination)
        # Before the receiver's QEMU is given the devices, or after.
        self.assertRegex(self.migration.sender.words, "'d1' was plugged|did not load the guest's devices")

    def test_a_backend_is_removed(self):
        source, destination = self.both_with_a_backend()
        self.begin(source, destination)
        with source.operator() as qmp:
            qmp.ask("object-del", id="d1")
        self.assert_stays(source, destination, "'d1'")

    def test_a_backend_is_replaced_by_one_of_the_same_name(self):
        for tracker in ("hash", "auto"):
            with self.subTest(tracker):
                source, destination = self.both_with_a_backend()
                self.begin(source, destination, "--dirty-tracker", tracker)
                with source.operator() as qmp:
                    qmp.ask("object-del", id="d1")
                    memory_file(source, "d1").unlink()
                    add_backend(qmp, source, "d1")
                self.assert_stays(source, destination, "'d1'" if tracker == "hash" else "mapped")
                self.remove_backend(source)

    def test_a_backend_file_shrinks(self):
        source, destination = self.both_with_a_backend()
        self.begin(source, destination)
        os.truncate(memory_file(source, "d1"), 4096)
        self.assert_stays(source, destination, "d1")

    def test_a_balloon_may_change(self):
        extra = ("-device", "virtio-balloon-pci,id=b0")
        source, destination = self.boot(extra=extra), self.waiting(extra=extra)
        self.begin(source, destination, link="100M/s")
        with source.operator() as qmp:
            qmp.ask("balloon", value=200 << 20)
        self.assert_moves(source, destination)


class OtherMemoryDevices(Case):
    def with_memory(self, device, append=""):
        """Both QEMUs with a backend d1 of 128 MiB and the device."""
        qemus = []
        for start in (self.boot, self.waiting):
            path = Path(f"/dev/shm/migrate-test-{os.getpid()}-{len(qemus)}.mem")
            self.addCleanup(path.unlink, missing_ok=True)
            qemus.append(start(append=append, extra=(
                "-object", f"memory-backend-file,id=d1,size=128M,mem-path={path},share=on", "-device",
                f"{device},id=dev-d1,memdev=d1")))
        return qemus

    def test_memory_is_unplugged(self):
        # The guest lets go of memory that it does not use.
        source, destination = self.with_memory("pc-dimm", "memhp_default_state=offline")
        self.begin(source, destination, link="20M/s")
        with source.operator() as qmp:
            qmp.ask("device_del", id="dev-d1")
        self.assert_stays(source, destination, "its dimm device 'dev-d1' of the memory backend 'd1' was unplugged")

    def test_virtio_mem_is_resized(self):
        source, destination = self.with_memory("virtio-mem-pci,requested-size=0")
        self.begin(source, destination)
        with source.operator() as qmp:
            qmp.ask("qom-set", path="/machine/peripheral/dev-d1", property="requested-size", value=64 << 20)
        self.assert_stays(source, destination, "virtio-mem device 'dev-d1' of the memory backend 'd1' was changed: "
                          "requested-size was 0, and is 67108864 now")


class MemoryAtTheDestination(WithBackends):
    """Nothing but the destination changes, so that one guest is enough."""

    def test_a_backend_is_added(self):
        source, destination = self.guest(), self.waiting()
        self.begin(source, destination, link="100M/s")
        with destination.operator() as qmp:
            add_backend(qmp, destination, "d1")
        self.assert_stays(source, destination, "a memory backend 'd1' (64 MiB) was added")

    def test_a_backend_is_replaced_by_one_of_the_same_name(self):
        source, destination = self.both_with_a_backend()
        self.begin(source, destination, link="100M/s")
        with destination.operator() as qmp:
            qmp.ask("object-del", id="d1")
            memory_file(destination, "d1").unlink()
            add_backend(qmp, destination, "d1")
        self.assert_stays(source, destination, "'d1'")

    def test_both_sides_are_plugged_alike(self):
        """Each QEMU agrees with the other at the end; what the new memory holds was never sent."""
        source, destination = self.guest(), self.waiting()
        self.begin(source, destination)
        self.addCleanup(self.drop_source)
        for qemu in (destination, source):
            with qemu.operator() as qmp:
                add_backend(qmp, qemu, "d1")
                plug(qmp, "d1")
        self.assert_stays(source, destination, "'d1' was plugged")


class Disks(Case):
    def test_a_disk_with_direct_io_is_added(self):
        source = self.guest()
        for aio in ("threads", "native", "io_uring"):
            with self.subTest(aio):
                destination = self.waiting()
                self.begin(source, destination)
                with source.operator() as qmp:
                    try:
                        add_disk(qmp, "d", True, aio)
                    except vm.Trouble as trouble:
                        self.skipTest(str(trouble))
                self.assert_stays(source, destination, "uses direct I/O (cache.direct)")
                with source.operator() as qmp:
                    qmp.ask("blockdev-del", node_name="d")
                    qmp.ask("object-del", id="group-d")

    def test_a_disk_without_direct_io_may_come_and_go(self):
        source, destination = self.boot(), self.waiting()
        self.begin(source, destination, link="100M/s")
        with source.operator() as qmp:
            add_disk(qmp, "d", False)
            qmp.ask("blockdev-del", node_name="d")
            add_disk(qmp, "e", False)
        self.assert_moves(source, destination)
        self.assertEqual(self.migration.sent()["guest"]["dirty-tracker"], "uffd-wp")

    def check_tracker(self, wanted, blockdev, aio, *more):
        extra = (*more, "-blockdev", blockdev, "-device", "virtio-blk-pci,drive=d")
        source, destination = self.boot(extra=extra), self.waiting(extra=extra)
        self.move(source, destination)
        self.assertEqual(self.migration.sent()["guest"]["dirty-tracker"], wanted, aio)
        source.kill()
        destination.kill()

    def test_buffered_disks_are_tracked_by_marks_however_they_are_read(self):
        for aio in ("threads", "io_uring"):
            with self.subTest(aio):
                self.check_tracker("uffd-wp", f"driver=raw,node-name=d,file.driver=file,file.filename="
                                   f"{disk_file('disk')},file.locking=off,file.aio={aio}", aio)

    def test_direct_io_below_a_filter_is_tracked_by_hashes(self):
        for aio in ("threads", "native", "io_uring"):
            with self.subTest(aio):
                self.check_tracker(
                    "hash", "driver=throttle,node-name=d,throttle-group=g,file.driver=raw,file.cache.direct=on,"
                    f"file.file.driver=file,file.file.filename={disk_file('disk')},file.file.locking=off,"
                    f"file.file.aio={aio},file.file.cache.direct=on", aio, "-object", "throttle-group,id=g")


if __name__ == "__main__":
    MIGRATE = sys.argv.pop(1)
    vm.require_guest()
    with tempfile.TemporaryDirectory() as folder:
        FOLDER, IMAGE = folder, vm.build_initramfs(folder)
        unittest.main()
