#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Moves guests with any kind of memory, by QEMU's RAM blocks: private memory as QEMU makes it without a word about
memory on its command line, memory in files, both together, plugged memory, disks with locks, and a sandbox. Then what
goes wrong, and what is refused. QEMU 7.2 does not tell where its memory is; it is skipped."""

import os
import struct
from pathlib import Path

import runner
import vm
from faults import FaultyQmp
from runner import each

NOWHERE = "127.0.0.1:1"
DIMM = ("-object", "memory-backend-ram,id=d,size=128M", "-device", "pc-dimm,id=d0,memdev=d")  # at the destination
# libvirt's defaults.
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
KINDS = {
    "no memory backend": {"backend": "plain"},
    "a private backend": {"backend": "private"},
    "a shared file": {"backend": "file"},
    "a memfd": {"backend": "memfd"},
    "two NUMA nodes, private and shared": {"backend": "mixed"},
    "a graphics card": {"backend": "plain", "extra": ("-device", "VGA", "-vnc", "none")},
}


def write_qcow2(path, size):
    """An empty image: its header, one table of reference counts, and a table of clusters."""
    cluster_bits, version = 16, 3
    cluster = 1 << cluster_bits
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, 0, 0, cluster_bits, size, 0, 1, 3 * cluster,
                         cluster, 1, 0, 0, 0, 0, 0, 4, 104)
    image = bytearray(4 * cluster)
    image[:len(header)] = header
    struct.pack_into(">Q", image, cluster, 2 * cluster)
    for number in range(4):
        struct.pack_into(">H", image, 2 * cluster + 2 * number, 1)
    path.write_bytes(image)


class Case(runner.Case):
    shape = {"rewrite_mib": 32, "rate": 16, "memory_mib": 160}

    def setUp(self):
        if not vm.MOVES_BLOCKS:
            self.skipTest("this QEMU does not tell the addresses of its memory")

    def move(self, source, destination, *options):
        self.begin(source, destination, "--verify", "digest", *vm.ANY_PAUSE, *options)
        self.check_succeeds()
        self.check_arrived(source, destination)
        self.assertTrue(source.is_silent(), "the guest runs at the source, too")
        sent = self.migration.sent()
        self.assertEqual(sent["guest"]["method"], "ram-blocks")
        return sent

    def check_moves_back(self, **options):
        """There and back; then the guest has checked all its memory."""
        source = self.guest(**options)
        for _ in range(runner.MOVES):
            destination = self.waiting(**options)
            self.move(source, destination)
            source.kill()
            source = destination
        self.check_runs(source, 400)
        return source


class Pause(Case):
    MEMORY = ["query-memdev", "query-memory-devices", "x-query-ramblock"]

    def test_only_what_must_be_asked_then_is_asked_while_the_guest_is_paused(self):
        if vm.version_of(vm.QEMU) < (10, 0):
            self.skipTest("the devices of an earlier QEMU are saved after one more question")
        source, destination = self.guest(), self.waiting()
        at = [FaultyQmp(qemu) for qemu in (source, destination)]
        for proxy in at:
            self.addCleanup(proxy.close)
        self.begin(source, destination, *vm.ANY_PAUSE, source_at=at[0].at, destination_at=at[1].at)
        self.check_succeeds()
        self.check_arrived(source, destination)
        left, right = (proxy.came for proxy in at)
        self.assertEqual(left[left.index("stop"):left.index("query-migrate", left.index("stop")) + 2],
                         ["stop", "query-status", "xen-save-devices-state", *self.MEMORY, "add-fd", "query-migrate",
                          "query-status"])
        begun = right.index("migrate-incoming")
        self.assertEqual(right[begun - 1:right.index("cont") + 1],
                         ["stop", "migrate-incoming", *self.MEMORY, "query-status", "query-status", "cont"])


class Kinds(Case):
    @each(*KINDS)
    def test_a_guest_moves_there_and_back_with(self, kind):
        self.check_moves_back(**KINDS[kind])

    def test_a_private_dimm_that_was_plugged_moves(self):
        source, destination = self.guest(slots=1, backend="private"), self.waiting(slots=1, backend="private", extra=DIMM)
        with source.qmp() as qmp:
            qmp.ask("object-add", qom_type="memory-backend-ram", id="d", size=128 << 20)
            qmp.ask("device_add", driver="pc-dimm", id="d0", memdev="d")
        self.move(source, destination)
        self.check_runs(destination, 100)

    def test_memory_of_another_kind_at_the_destination_receives_the_guest(self):
        source, destination = self.guest(backend="private"), self.waiting(backend="file")
        self.move(source, destination)
        back = self.waiting(backend="private")
        self.move(destination, back)

    def test_private_memory_keeps_its_huge_pages_and_its_holes(self):
        source, destination = self.guest(backend="plain"), self.waiting(backend="plain")
        self.move(source, destination)

        def resident(qemu):
            lines = Path(f"/proc/{qemu.pid}/smaps_rollup").read_text().splitlines()
            return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
        before, after = resident(source), resident(destination)
        print({key: (before[key], after[key]) for key in ("Rss", "AnonHugePages")})
        if before["AnonHugePages"] > 0:
            self.assertGreater(after["AnonHugePages"], 0)
        self.assertLess(after["Rss"], before["Rss"] + (32 << 10))


class Sandboxed(Case):
    def test_a_sandboxed_guest_is_tracked_by_marks_and_moves(self):
        source, destination = self.boot(extra=SANDBOX, backend="plain"), self.waiting(extra=SANDBOX, backend="plain")
        sent = self.move(source, destination)
        if os.geteuid() == 0:
            self.assertEqual(sent["guest"]["dirty-tracker"], "uffd-wp")
        self.check_runs(destination, 100)


class Disks(Case):
    def write(self, qemu, place, byte):
        """64 KiB through QEMU's block layer, past the guest. QEMU answers with an error or with nothing."""
        with qemu.qmp() as qmp:
            for command in (f"write -P {byte} {place * 64}k 64k", f"read -P {byte} {place * 64}k 64k", "flush"):
                self.assertEqual(qmp.ask("human-monitor-command", command_line=f'qemu-io disk "{command}"'), "")

    @each("raw", "qcow2")
    def test_a_shared_image_with_locks_changes_hands(self, form):
        image = self.folder / "disk"
        if form == "raw":
            image.write_bytes(bytes(8 << 20))
        else:
            write_qcow2(image, 8 << 20)
        extra = ("-blockdev", f"driver={form},node-name=disk,file.driver=file,file.filename={image},file.locking=on",
                 "-device", "virtio-blk-pci,drive=disk,share-rw=on")
        options = {"backend": "plain", "extra": extra}
        moved = self.check_moves_back(**options)
        self.write(moved, 0, 7)
        # A failure gives the guest its disk back.
        proxy = FaultyQmp(destination := self.waiting(**options), "migrate-incoming")
        self.addCleanup(proxy.close)
        self.begin(moved, destination, *vm.ANY_PAUSE, destination_at=proxy.at)
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        self.migration.end()
        destination.kill()
        self.check_runs(moved)
        self.write(moved, 1, 8)
        fresh = self.waiting(**options)
        self.move(moved, fresh)
        self.write(fresh, 2, 9)
        if form == "raw":
            self.assertEqual(image.read_bytes()[:3 * 65536], b"\7" * 65536 + b"\10" * 65536 + b"\11" * 65536)


class Failures(Case):
    options = {"backend": "plain"}

    def check_fails(self, source, destination, *words, at=None):
        self.begin(source, destination, *vm.ANY_PAUSE, destination_at=at and at.at)
        self.assertNotEqual(self.migration.sender.wait(), 0, self.migration.words())
        for word in words:
            self.assertIn(word, self.migration.words())
        self.migration.end()
        self.check_runs(source)

    def test_a_guest_moves_at_once_after_a_failure(self):
        source = self.guest(**self.options)
        for command in ("migrate-incoming", "cont"):
            destination = self.waiting(**self.options)
            at = FaultyQmp(destination, command)
            self.addCleanup(at.close)
            self.check_fails(source, destination, at=at)
        self.move(source, self.waiting(**self.options))

    def test_a_paused_guest_moves_at_once_after_a_failure(self):
        source, destination = self.guest(**self.options), self.waiting(**self.options)
        source.control.ask("stop")
        at = FaultyQmp(destination, "migrate-incoming")
        self.addCleanup(at.close)
        self.begin(source, destination, destination_at=at.at)
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        self.migration.end()
        self.assertEqual(source.state(), "paused")
        fresh = self.waiting(**self.options)
        self.begin(source, fresh)
        self.check_succeeds()
        self.assertEqual(fresh.state(), "paused")
        fresh.control.ask("cont")
        self.check_arrived(source, fresh)

    def test_a_guest_that_was_handed_over_is_not_moved_again(self):
        source, destination = self.guest(**self.options), self.waiting(**self.options)
        self.move(source, destination)
        self.check_refused("was handed over before", "send", "--connect", NOWHERE, "--source",
                           f"qemu:{source.qmp_path}")
        with source.qmp() as qmp:
            sets = qmp.ask("query-fdsets")
            self.assertEqual(len(sets), 1)
            qmp.ask("remove-fd", fdset_id=sets[0]["fdset-id"])
        source.kill()

    def test_a_destination_with_other_devices_is_refused_by_name_before_memory_moves(self):
        source = self.guest(**self.options)
        destination = self.waiting(backend="plain", extra=("-device", "VGA"))
        migration = self.begin(source, destination)
        self.assertEqual(migration.sender.wait(), 3)
        self.assertIn("a VGA at pcie.0/01.0 is here and missing at the sender", migration.sender.words)
        self.check_runs(source)
        self.assertEqual(destination.state(), "inmigrate")

    def test_a_destination_with_another_machine_is_named(self):
        source = self.guest(**self.options)
        destination = self.waiting(backend="plain", machine="pc-q35-7.2")
        self.check_fails(source, destination, "'pc-q35-7.2'")

    def test_a_dirty_bitmap_is_refused_by_name(self):
        disk = self.folder / "disk"
        disk.write_bytes(bytes(1 << 20))
        source = self.guest(backend="plain", extra=(
            "-blockdev", f"driver=raw,node-name=d,file.driver=file,file.filename={disk}", "-device",
            "virtio-blk-pci,drive=d"))
        with source.qmp() as qmp:
            qmp.ask("block-dirty-bitmap-add", node="d", name="b0")
        self.check_refused("dirty bitmap 'b0' of the node 'd'", "send", "--connect", NOWHERE, "--source",
                           f"qemu:{source.qmp_path}")
        self.check_runs(source)


if __name__ == "__main__":
    runner.main(__doc__)
