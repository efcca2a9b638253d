#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Moves guests with memory in huge pages of the host's pool and with devices whose state is tied to memory, there and
back: virtio-mem and a balloon, with the guest's drivers at work, a network card, and firmware in flash. QEMU 7.2 does not
tell where its memory is; it is skipped."""

from pathlib import Path

import runner
import vm
from environment import kernel_with_modules
from huge_pages import reserve_huge_pages
from runner import each
from waiting import eventually

MIB = 1 << 20
PLUGGED = 128 * MIB
FIRMWARE = ("/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin")
VIRTIO_MEM = ("-object", "memory-backend-ram,id=vmem,size=256M", "-device", "virtio-mem-pci,id=v0,memdev=vmem")
BALLOON = ("-device", "virtio-balloon-pci,id=balloon0")
NETWORK = ("-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=")


class Case(runner.Case):
    shape = {"rewrite_mib": 32, "rate": 16, "memory_mib": 160, "backend": "plain"}

    def setUp(self):
        if not vm.MOVES_BLOCKS:
            self.skipTest("this QEMU does not tell the addresses of its memory")

    def move(self, source, destination):
        self.begin(source, destination, "--verify", "digest", *vm.ANY_PAUSE)
        self.check_succeeds()
        self.check_arrived(source, destination)
        self.assertTrue(source.is_silent(), "the guest runs at the source, too")
        self.assertEqual(self.migration.sent()["guest"]["method"], "ram-blocks")

    def move_there_and_back(self, source, after=lambda qemu: None, **options):
        """Returns the QEMU in which the guest is then; `after` is called with each one that it arrived in."""
        for turn in range(runner.MOVES):
            options_here = options["options_of"](turn) if "options_of" in options else options
            destination = self.waiting(**options_here)
            self.move(source, destination)
            source.kill()
            after(destination)
            source = destination
        self.check_runs(source, 200)
        return source

    def with_drivers(self, **options):
        """The options of a QEMU whose guest loads the drivers of virtio devices."""
        kernel, modules = kernel_with_modules()
        if kernel is None:
            self.skipTest("there is no kernel with modules: scripts/fetch-test-systems kernel unpacks one")
        image = vm.build_initramfs(self.folder, modules)
        return {"kernel": kernel, "image": image, "append": "memhp_default_state=online", **options}

    def boot_with(self, options):
        qemu = self.own(vm.Qemu(**{**self.shape, **options}))
        qemu.await_boot()
        return qemu

    def waiting(self, **options):
        return self.own(vm.Qemu(**{**self.shape, "image": self.image, **options, "incoming": True}))


class HugePages(Case):
    @each("hugetlb", "hugetlb private")
    def test_a_guest_moves_there_and_back_in(self, backend):
        options = {"backend": backend}
        reserve_huge_pages(self, 2 * self.shape["memory_mib"] // 2)
        self.move_there_and_back(self.guest(**options), **options)


class Memory(Case):
    def plugged(self, qemu):
        device, = qemu.control.ask("query-memory-devices")
        return device["data"]["size"]

    def test_a_virtio_mem_that_the_guest_has_plugged_moves_there_and_back(self):
        options = self.with_drivers(extra=VIRTIO_MEM, slots=1, memory_mib=384)
        source = self.boot_with(options)
        source.control.ask("qom-set", path="/machine/peripheral/v0", property="requested-size", value=PLUGGED)
        eventually(lambda: self.plugged(source) == PLUGGED, 60, lambda: f"{self.plugged(source)} bytes are plugged")

        def check(qemu):
            self.assertEqual(self.plugged(qemu), PLUGGED)
        last = self.move_there_and_back(source, check, **options)
        # The guest gives it back, so its driver and QEMU agree.
        last.control.ask("qom-set", path="/machine/peripheral/v0", property="requested-size", value=0)
        eventually(lambda: self.plugged(last) < PLUGGED, 60, lambda: f"{self.plugged(last)} bytes are plugged")
        self.check_runs(last, 50)

    def test_a_balloon_that_the_guest_has_filled_moves_there_and_back(self):
        options = self.with_drivers(extra=BALLOON)
        source = self.boot_with(options)

        def actual(qemu):
            return qemu.control.ask("query-balloon")["actual"]

        def fill(qemu, mib):
            qemu.control.ask("balloon", value=mib * MIB)
            eventually(lambda: actual(qemu) == mib * MIB, 60, lambda: f"the guest has {actual(qemu)} bytes")
        fill(source, 112)
        last = self.move_there_and_back(source, lambda qemu: self.assertEqual(actual(qemu), 112 * MIB), **options)
        fill(last, 160)
        self.check_runs(last, 50)


class Devices(Case):
    def test_a_network_card_moves_there_and_back(self):
        options = self.with_drivers(extra=NETWORK)
        self.move_there_and_back(self.boot_with(options), **options)

    def test_firmware_in_flash_moves_there_and_back(self):
        firmware = next((path for path in map(Path, FIRMWARE) if path.exists()), None)
        if firmware is None:
            self.skipTest("there is no firmware for flash memory (SeaBIOS)")
        flash = bytes(range(256)) * 256

        def options_of(turn, content=bytes(len(flash))):
            variables = self.folder / f"variables-{turn}"
            variables.write_bytes(content)
            return {"image": self.image, "extra": (
                "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={firmware}",
                "-drive", f"if=pflash,unit=1,format=raw,file={variables}")}
        source = self.boot_with(options_of("source", flash))
        last = self.move_there_and_back(source, options_of=options_of)
        # The memory of the flash moved, and QEMU brings the destination's file up to date.
        last.control.ask("stop")
        self.assertEqual((self.folder / "variables-1").read_bytes(), flash)


if __name__ == "__main__":
    runner.main(__doc__)
