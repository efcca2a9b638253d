#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory and disks of a QEMU are changed through another QMP client while its guest is migrated, at either side. The
migration ends with the reason and the guest runs on at the source, or what was changed does no harm."""

import os
from pathlib import Path

import runner
import vm
from runner import each

TRACKERS = ("hash", "auto")
WAYS_TO_READ = ("threads", "native", "io_uring")  # QEMU's aio=


def memory_file(qemu, name):
    """QEMU's kill() removes it."""
    return Path(f"/dev/shm/migrate-test-{qemu.name}.mem-{name}")


def add_backend(qmp, qemu, name, mib=64):
    qmp.ask("object-add", qom_type="memory-backend-file", id=name, size=mib << 20, share=True,
            mem_path=str(memory_file(qemu, name)))


def plug(qmp, name, driver="pc-dimm"):
    qmp.ask("device_add", driver=driver, id=f"dev-{name}", memdev=name)


class Case(runner.Case):
    shape = {"slots": 4, "rewrite_mib": 32}

    def begin_round(self, source, destination, *options, link="40M/s", **more):
        """A migration in its first round, which takes seconds; the switchover follows it, however slow the host is."""
        self.begin(source, destination, "--max-bandwidth", link, "--downtime-limit", "20s", *options, **more)
        self.migration.await_event('"MIGRATION_PASS"')

    def check_stays(self, source, destination, *reasons):
        """The migration fails with the reason, before the handover; the guest runs at the source, and nowhere else."""
        codes = self.migration.wait()
        words = self.migration.words()
        self.assertNotIn(0, codes, words)
        for reason in reasons:
            self.assertIn(reason, self.migration.sender.words)
        self.check_runs(source, 20)
        self.assertEqual(source.state(), "running")
        self.assertEqual(destination.ticks(), [], "the guest runs at the destination, too")

    def check_moves(self, source, destination):
        self.check_succeeds()
        self.check_arrived(source, destination)

    def check_spare_backend_matters(self, source, destination, reason):
        """Where all backends are sent as files, the migration ends. Where QEMU's RAM blocks are sent, a backend that no
        device uses holds nothing of the guest."""
        if vm.MOVES_BLOCKS:
            self.check_moves(source, destination)
        else:
            self.check_stays(source, destination, reason)

    def with_backends(self):
        """The guest and a QEMU that waits for it, each with a spare backend that no device uses."""
        source, destination = self.guest(), self.waiting()
        for qemu in (source, destination):
            with qemu.operator() as qmp:
                add_backend(qmp, qemu, "d1")
        return source, destination


class MemoryAtTheSource(Case):
    def test_a_backend_that_is_added_ends_the_migration(self):
        source, destination = self.guest(), self.waiting()
        self.begin_round(source, destination)
        with source.operator() as qmp:
            add_backend(qmp, source, "d1")
        self.check_stays(source, destination, "a memory backend 'd1' (64 MiB) was added")

    def test_a_spare_backend_that_is_plugged_ends_the_migration(self):
        source, destination = self.with_backends()
        self.begin_round(source, destination)
        with source.operator() as qmp:
            plug(qmp, "d1")
        self.check_stays(source, destination, "a dimm device 'dev-d1' of the memory backend 'd1' was plugged")

    def test_memory_that_is_plugged_while_the_guest_is_paused_ends_the_migration(self):
        source, destination = self.guest(), self.waiting()
        control = self.folder / "sender.qmp"
        self.begin_round(source, destination, "--pause-before-switchover", "on", "--qmp", f"unix:{control}",
                         link="400M/s")
        self.migration.await_event('"pre-switchover"')
        with source.operator() as qmp:
            add_backend(qmp, source, "d1")
            plug(qmp, "d1")
        with vm.Qmp(control) as qmp:
            qmp.ask("migrate-continue", state="pre-switchover")
        self.check_stays(source, destination)
        # Before the receiver's QEMU is given the devices, or after.
        self.assertRegex(self.migration.sender.words, "'d1' was plugged|did not load the guest's devices")

    def test_a_backend_that_is_removed_ends_the_migration(self):
        source, destination = self.with_backends()
        self.begin_round(source, destination)
        with source.operator() as qmp:
            qmp.ask("object-del", id="d1")
        self.check_stays(source, destination, "'d1'")

    @each(*TRACKERS)
    def test_a_spare_backend_is_replaced_by_one_of_the_same_name(self, tracker):
        source, destination = self.with_backends()
        self.begin_round(source, destination, "--dirty-tracker", tracker)
        with source.operator() as qmp:
            qmp.ask("object-del", id="d1")
            memory_file(source, "d1").unlink()
            add_backend(qmp, source, "d1")
        self.check_spare_backend_matters(source, destination, "'d1'" if tracker == "hash" else "mapped")

    def test_the_file_of_a_spare_backend_shrinks(self):
        source, destination = self.with_backends()
        self.begin_round(source, destination)
        os.truncate(memory_file(source, "d1"), 4096)
        self.check_spare_backend_matters(source, destination, "d1")

    def test_a_balloon_may_change(self):
        extra = ("-device", "virtio-balloon-pci,id=b0")
        source, destination = self.guest(extra=extra), self.waiting(extra=extra)
        self.begin_round(source, destination, link="100M/s")
        with source.operator() as qmp:
            qmp.ask("balloon", value=200 << 20)
        self.check_moves(source, destination)


class OtherMemoryDevices(Case):
    def with_memory(self, device, append=""):
        """Both QEMUs with a backend d1 of 128 MiB and the device."""
        qemus = []
        for start in (self.guest, self.waiting):
            path = Path(f"/dev/shm/migrate-test-d1-{os.getpid()}-{len(qemus)}.mem")
            self.addCleanup(path.unlink, missing_ok=True)
            qemus.append(start(append=append, extra=(
                "-object", f"memory-backend-file,id=d1,size=128M,mem-path={path},share=on", "-device",
                f"{device},id=dev-d1,memdev=d1")))
        return qemus

    def test_memory_that_is_unplugged_ends_the_migration(self):
        # The guest lets go of memory that it does not use.
        source, destination = self.with_memory("pc-dimm", "memhp_default_state=offline")
        self.begin_round(source, destination, link="20M/s")
        with source.operator() as qmp:
            qmp.ask("device_del", id="dev-d1")
        self.check_stays(source, destination, "its dimm device 'dev-d1' of the memory backend 'd1' was unplugged")

    def test_virtio_mem_that_is_resized_ends_the_migration(self):
        source, destination = self.with_memory("virtio-mem-pci,requested-size=0")
        self.begin_round(source, destination)
        with source.operator() as qmp:
            qmp.ask("qom-set", path="/machine/peripheral/dev-d1", property="requested-size", value=64 << 20)
        self.check_stays(source, destination, "virtio-mem device 'dev-d1' of the memory backend 'd1' was changed: "
                         "requested-size was 0, and is 67108864 now")


class MemoryAtTheDestination(Case):
    def test_a_backend_that_is_added_ends_the_migration(self):
        source, destination = self.guest(), self.waiting()
        self.begin_round(source, destination, link="100M/s")
        with destination.operator() as qmp:
            add_backend(qmp, destination, "d1")
        self.check_stays(source, destination, "a memory backend 'd1' (64 MiB) was added")

    def test_a_spare_backend_is_replaced_by_one_of_the_same_name(self):
        source, destination = self.with_backends()
        self.begin_round(source, destination, link="100M/s")
        with destination.operator() as qmp:
            qmp.ask("object-del", id="d1")
            memory_file(destination, "d1").unlink()
            add_backend(qmp, destination, "d1")
        self.check_spare_backend_matters(source, destination, "'d1'")

    def test_memory_that_is_plugged_at_both_sides_alike_ends_the_migration(self):
        """Each QEMU agrees with the other at the end; but the contents of the new memory were never sent."""
        source, destination = self.guest(), self.waiting()
        self.begin_round(source, destination)
        for qemu in (destination, source):
            with qemu.operator() as qmp:
                add_backend(qmp, qemu, "d1")
                plug(qmp, "d1")
        self.check_stays(source, destination, "'d1' was plugged")


class Disks(Case):
    def disk_file(self, name):
        path = self.folder / name
        path.write_bytes(bytes(1 << 20))
        return path

    def add_disk(self, qmp, name, direct, aio="threads"):
        """A file below a raw format below a throttle filter; no device uses it."""
        file = {"driver": "file", "filename": str(self.disk_file(name)), "aio": aio, "cache": {"direct": direct},
                "locking": "off"}
        qmp.ask("object-add", qom_type="throttle-group", id=f"group-{name}")
        qmp.ask("blockdev-add", driver="throttle", node_name=name, throttle_group=f"group-{name}",
                file={"driver": "raw", "cache": {"direct": direct}, "file": file})

    @each(*WAYS_TO_READ)
    def test_a_disk_with_direct_io_that_is_added_ends_the_migration(self, aio):
        source, destination = self.guest(), self.waiting()
        self.begin_round(source, destination)
        with source.operator() as qmp:
            try:
                self.add_disk(qmp, "d", True, aio)
            except vm.Trouble as trouble:
                self.skipTest(str(trouble))
        self.check_stays(source, destination, "uses direct I/O (cache.direct)")

    def test_a_disk_without_direct_io_may_come_and_go(self):
        source, destination = self.guest(), self.waiting()
        self.begin_round(source, destination, link="100M/s")
        with source.operator() as qmp:
            self.add_disk(qmp, "d", False)
            qmp.ask("blockdev-del", node_name="d")
            self.add_disk(qmp, "e", False)
        self.check_moves(source, destination)
        self.assertEqual(self.migration.sent()["guest"]["dirty-tracker"], "uffd-wp")

    def check_tracker(self, wanted, blockdev, *more):
        extra = (*more, "-blockdev", blockdev, "-device", "virtio-blk-pci,drive=d")
        source, destination = self.guest(extra=extra), self.waiting(extra=extra)
        # A digest takes long beside another program's load.
        self.begin(source, destination, "--verify", "digest", *vm.ANY_PAUSE)
        self.check_moves(source, destination)
        self.assertEqual(self.migration.sent()["guest"]["dirty-tracker"], wanted)

    @each("threads", "io_uring")
    def test_buffered_disks_are_tracked_by_marks(self, aio):
        self.check_tracker("uffd-wp", "driver=raw,node-name=d,file.driver=file,file.filename="
                           f"{self.disk_file('disk')},file.locking=off,file.aio={aio}")

    @each(*WAYS_TO_READ)
    def test_direct_io_below_a_filter_is_tracked_by_hashes(self, aio):
        self.check_tracker("hash", "driver=throttle,node-name=d,throttle-group=g,file.driver=raw,file.cache.direct=on,"
                           f"file.file.driver=file,file.file.filename={self.disk_file('disk')},file.file.locking=off,"
                           f"file.file.aio={aio},file.file.cache.direct=on", "-object", "throttle-group,id=g")


if __name__ == "__main__":
    runner.main(__doc__)
