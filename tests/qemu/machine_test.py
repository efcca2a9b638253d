#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which destinations are refused before a page moves, because their machine, CPUs or devices are not those of the
guest; and what a user reads if QEMU itself refuses the devices, or if they change during a migration."""

import runner
import vm
from huge_pages import reserve_huge_pages
from runner import each

USB = ("-device", "qemu-xhci,id=usb")
NET = ("-device", "virtio-net-pci,id=net0,mac=52:54:00:00:00:01")
PORT = ("-device", "pcie-root-port,id=rp1,chassis=1")
# For a guest of SOURCE, what the destination is given instead, and words of the refusal.
SOURCE = {"smp": 2, "extra": NET + USB}
DIFFERENCES = {
    "another machine type": ({"machine": "pc"}, "the machine type is 'pc-q35-", "here"),
    "an older machine type": ({"machine": "pc-q35-7.1"}, "the machine type is", "'pc-q35-7.1' here"),
    "fewer CPUs": ({"smp": "1,maxcpus=2"}, "'present CPUs' of the CPUs is '0-1' at the sender and '0' here"),
    "more CPUs": ({"smp": 3}, "'CPUs' of the CPUs is '2' at the sender and '3' here"),
    "another topology": ({"smp": "2,sockets=2,cores=1"}, "'topology' of the CPUs is", "socket=2,core=1,thread=1' here"),
    "another CPU model": ({"extra": (*NET, *USB, "-cpu", "Nehalem")}, "the CPU model is 'qemu64-x86_64-cpu' at the sender"),
    "a CPU without a feature": ({"extra": (*NET, *USB, "-cpu", "qemu64,-sse3")}, "the CPUs lack features here that they have "
                                "at the sender (CPUID 0x1 ECX bits 0x1)"),
    "a missing device": ({"extra": USB}, "'net0' (virtio-net-pci at pcie.0/01.0) is at the sender", "'usb' (qemu-xhci"),
    "a device too many": ({"extra": (*NET, *USB, "-device", "virtio-rng-pci,id=rng0")}, "'rng0' (virtio-rng-pci at pcie.0/"
                          "03.0) is here and missing at the sender"),
    "a USB device too many": ({"extra": (*NET, *USB, "-device", "usb-tablet,id=tablet")}, "'tablet' (usb-tablet at "
                              "pcie.0/02.0/port 1) is here and missing at the sender"),
    "another address": ({"extra": (NET[0], NET[1] + ",addr=0x8", *USB)}, "virtio-net-pci at pcie.0/01.0",
                        "virtio-net-pci at pcie.0/08.0"),
    "another device": ({"extra": ("-device", "e1000,id=net0", *USB)}, "'net0' (virtio-net-pci at pcie.0/01.0) is at the "
                       "sender, and 'net0' (e1000 at pcie.0/01.0) is here"),
    "another feature of a device": ({"extra": (NET[0], NET[1] + ",packed=on", *USB)}, "'packed' of 'net0' (virtio-net-pci at "
                                    "pcie.0/01.0) is 'off' at the sender and 'on' here"),
    "no HPET": ({"machine": "q35,hpet=off"}, "a hpet at main-system-bus/hpet is at the sender and missing here"),
}


class Case(runner.Case):
    shape = {"rewrite_mib": 16, "rate": 4, "memory_mib": 128}

    def check_is_refused(self, source, destination, *words):
        """The guest runs on and was never paused; the destination waits as before."""
        self.begin(source, destination)
        self.assertEqual(self.migration.sender.wait(), 3, self.migration.words())
        for word in words:
            self.assertIn(word, self.migration.sender.words)
            self.migration.receiver.await_words(word)  # it goes on waiting; its line may come after the sender's end
        self.assertNotIn('"STOP"', vm.read_text(self.migration.events))
        self.assertEqual(self.migration.sent()["rounds"], [])
        self.migration.end()
        self.check_runs(source)
        self.assertEqual(destination.state(), "inmigrate")

    def check_names_QEMUs_reason(self):
        if vm.version_of(vm.QEMU) >= (9, 1):
            self.assertIn("load of migration failed", self.migration.sender.words)


class Differences(Case):
    @each(*DIFFERENCES)
    def test_a_destination_is_refused_that_has(self, difference):
        options, *words = DIFFERENCES[difference]
        self.check_is_refused(self.guest(**SOURCE), self.waiting(**{**SOURCE, **options}),
                              "the machines differ: ", *words, "with the sender's -machine")

    def test_memory_is_refused_whose_pages_have_another_size(self):
        if not vm.MOVES_BLOCKS:
            self.skipTest("this QEMU's memory backends are moved by files")
        reserve_huge_pages(self, self.shape["memory_mib"] // 2)
        self.check_is_refused(self.guest(backend="memfd"), self.waiting(backend="hugetlb"),
                              "'page size' of RAM block 'm' is '4096' at the sender and '2097152' here")

    def begin_with(self, words, extra):
        source, destination = self.guest(**SOURCE), self.waiting(**{**SOURCE, "extra": extra})
        self.begin(source, destination, *vm.ANY_PAUSE, destination_at=f"{destination.qmp_path},{words}")
        return source, destination

    def test_a_difference_that_QEMU_accepts_is_only_named_where_that_is_asked_for(self):
        source, destination = self.begin_with("machine-differences=warn", (*NET, *USB, "-cpu", "qemu64,-sse3"))
        self.check_succeeds()
        self.assertIn("warning: the machines differ: the CPUs lack features here", self.migration.receiver.words)
        self.check_arrived(source, destination)

    @each("warn", "ignore")
    def test_a_difference_that_QEMU_refuses_leaves_the_guest_at_the_source(self, differences):
        source, destination = self.begin_with(f"machine-differences={differences}", NET)
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        self.assertNotEqual(self.migration.receiver.wait(), 0, self.migration.words())
        self.assertIn("QEMU did not load the guest's devices", self.migration.sender.words)
        self.check_names_QEMUs_reason()
        self.assertEqual("the machines differ" in self.migration.receiver.words, differences == "warn")
        self.check_runs(source)
        destination.process.wait(20)

    def test_names_of_devices_do_not_matter(self):
        source = self.guest(**SOURCE)
        destination = self.waiting(smp=2, extra=("-device", "qemu-xhci,addr=0x2", "-device", "virtio-net-pci,addr=0x1"))
        self.begin(source, destination, *vm.ANY_PAUSE)
        self.check_succeeds()
        self.check_arrived(source, destination)


class Changes(Case):
    """The rounds are slow, so that there is time for a change."""

    def begin_slowly(self, **options):
        source, destination = self.guest(**options), self.waiting(**options)
        self.begin(source, destination, "--max-bandwidth", "2M/s")
        self.migration.await_event('"MIGRATION_PASS"')
        return source, destination

    def test_a_device_that_is_unplugged_ends_the_migration_at_once(self):
        source, _ = self.begin_slowly(extra=(*USB, "-device", "usb-tablet,id=tablet"))
        with source.operator() as qmp:
            qmp.ask("device_del", id="tablet")
        self.assertEqual(self.migration.sender.wait(20), 1, self.migration.words())
        self.assertIn("'tablet' (usb-tablet at pcie.0/01.0/port 1) is when the migration began and missing now",
                      self.migration.sender.words)
        self.check_runs(source)

    def test_a_device_that_is_plugged_is_named_before_the_guest_is_paused(self):
        source, destination = self.guest(extra=USB), self.waiting(extra=USB)
        self.begin(source, destination, "--max-bandwidth", "25M/s")
        self.migration.await_event('"MIGRATION_PASS"')
        with source.operator() as qmp:
            qmp.ask("device_add", driver="usb-kbd", id="kbd")
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        self.assertIn("'kbd' (usb-kbd at pcie.0/01.0/port 1) is now and missing when the migration began",
                      self.migration.sender.words)
        self.assertNotIn('"STOP"', vm.read_text(self.migration.events))
        self.check_runs(source)


class Loads(Case):
    def test_a_device_that_qemu_does_not_load_is_told_in_its_own_words(self):
        """The difference is one that no list of devices shows."""
        if vm.version_of(vm.QEMU) >= (11,):
            self.skipTest("this QEMU has no property that changes only what is saved of a port")
        source = self.guest(extra=PORT)
        destination = self.waiting(extra=(*PORT, "-global", "pcie-root-port.x-migrate-msix=off"))
        self.begin(source, destination, *vm.ANY_PAUSE)
        self.assertEqual(self.migration.sender.wait(), 1, self.migration.words())
        self.assertIn("QEMU did not load the guest's devices", self.migration.sender.words)
        self.check_names_QEMUs_reason()
        self.migration.end()
        self.check_runs(source)


if __name__ == "__main__":
    runner.main(__doc__)
