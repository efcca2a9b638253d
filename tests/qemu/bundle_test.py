#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Parks guests in bundles and loads them into waiting QEMUs, as often as wanted. Kills the writer at random moments: the
bundle is complete, or it is rejected. The pause of a guest that is parked is printed beside that of one that moves."""

import os
import shutil
import signal
from pathlib import Path

import runner
import vm
from runner import each

KINDS = {
    "no memory backend": {"backend": "plain"},
    "a shared file": {"backend": "file"},
    "two NUMA nodes, private and shared": {"backend": "mixed"},
    "a graphics card": {"backend": "plain", "extra": ("-device", "VGA", "-vnc", "none")},
}
OWNER_UNKNOWN = 6
KILLS = 8
PAUSES = 5


class Case(runner.Case):
    shape = {"rewrite_mib": 32, "rate": 16, "memory_mib": 160}

    def setUp(self):
        self.bundle = self.folder / "bundle"
        self.uri = f"bundle:{self.bundle}"

    def run_migration(self, source, destination, *options):
        self.begin(source, destination, "--downtime-limit", "5s", *options)
        self.check_succeeds()
        return self.migration.sent()

    def park(self, source, *options):
        sent = self.run_migration(source, self.uri, *options)
        self.assertTrue(source.is_silent(), "the guest runs at the source after it was parked")
        return sent

    def load(self, **options):
        destination = self.waiting(**options)
        self.run_migration(self.uri, destination)
        return destination


class Parked(Case):
    @each(*KINDS)
    def test_a_guest_continues_from_its_bundle_as_often_as_it_is_loaded_with(self, kind):
        options = KINDS[kind]
        if options["backend"] != "file" and not vm.MOVES_BLOCKS:
            self.skipTest("this QEMU does not tell the addresses of its memory")
        source = self.guest(**options)
        self.park(source, "--verify", "digest")
        for _ in range(2):
            destination = self.load(**options)
            self.check_arrived(source, destination)
            self.check_runs(destination, 400)
            destination.kill()
        self.assertTrue(source.is_silent())

    def test_a_paused_guest_arrives_paused(self):
        source = self.guest()
        source.control.ask("stop")
        self.park(source)
        destination = self.load()
        self.assertEqual(destination.state(), "paused")
        destination.control.ask("cont")
        self.check_arrived(source, destination)
        self.check_runs(destination, 400)

    def test_a_guest_is_parked_after_a_write_that_failed(self):
        source = self.guest()
        self.begin(source, self.uri, "--max-bandwidth", "40M/s")
        self.migration.await_event('"MIGRATION_PASS"')
        self.migration.receiver.process.send_signal(signal.SIGINT)
        self.assertEqual(self.migration.sender.wait(), 4, self.migration.words())
        self.migration.end()
        self.check_runs(source)
        self.assertEqual(list(self.bundle.iterdir()), [])
        self.park(source)
        destination = self.load()
        self.check_arrived(source, destination)


class Rejected(Case):
    def check_load_fails(self, destination, *words):
        self.begin(self.uri, destination)
        self.assertEqual(self.migration.sender.wait(), 3, self.migration.words())
        for word in words:
            self.assertIn(word, self.migration.words())
        self.migration.end()
        self.assertEqual(destination.state(), "inmigrate")

    def test_a_damaged_bundle_is_rejected_before_a_waiting_qemu_changes(self):
        source = self.guest()
        self.park(source)
        memory = max(self.bundle.glob("memory-*"), key=lambda path: path.stat().st_size)
        destination = self.waiting()
        with open(memory, "r+b") as file:
            file.seek(100 << 20)
            byte = file.read(1)
            file.seek(100 << 20)
            file.write(bytes([byte[0] ^ 1]))
        self.check_load_fails(destination, f"{memory} was changed or damaged")
        with open(memory, "r+b") as file:
            file.seek(100 << 20)
            file.write(byte)
        self.run_migration(self.uri, destination)
        self.check_arrived(source, destination)

    def test_another_machine_is_refused_by_name(self):
        if not vm.MOVES_BLOCKS:
            self.skipTest("the difference is found in the RAM blocks")
        self.park(self.guest(backend="plain"))
        destination = self.waiting(backend="plain", extra=("-device", "VGA"))
        self.check_load_fails(destination, "a VGA at pcie.0/01.0 is here and missing at the sender")


class Killed(Case):
    def kill_writer(self, source):
        """At a random moment of a random part of the write; the sender's exit code."""
        self.begin(source, self.uri, "--max-bandwidth", "150M/s")
        if self.chance.random() < 0.5:
            self.migration.has_event('"STOP"')
            vm.ends_within(self.migration.sender.process, self.chance.uniform(0, 0.05))
        else:
            vm.ends_within(self.migration.sender.process, self.chance.uniform(0, 1.5))
        self.migration.receiver.process.kill()
        sent = self.migration.sender.wait()
        self.migration.end()
        return sent

    def test_a_killed_writer_leaves_a_complete_bundle_or_none(self):
        complete = rejected = 0
        source = self.guest()
        for turn in range(KILLS):
            sent = self.kill_writer(source)
            whole = (self.bundle / "manifest.json").exists()
            print(f"turn {turn}: exit code {sent}, {'complete' if whole else 'no bundle'}")
            self.assertIn(sent, (0, 1, OWNER_UNKNOWN), self.migration.words())
            if whole:
                self.assertNotEqual(sent, 1, "the source keeps a guest that is in a bundle, too")
                destination = self.load()
                self.check_arrived(source, destination)
                self.check_runs(destination, 400)
                destination.kill()
                complete += 1
            else:
                self.assertNotEqual(sent, 0)
                destination = self.waiting()
                self.begin(self.uri, destination)
                self.assertNotEqual(self.migration.sender.wait(), 0)
                self.assertEqual(destination.state(), "inmigrate")
                self.migration.end()
                destination.kill()
                rejected += 1
            if sent == 1:
                self.check_runs(source)
            else:
                self.assertTrue(source.is_silent())
                source.kill()
                source = self.guest()
            shutil.rmtree(self.bundle, ignore_errors=True)
        print(f"{KILLS} writers killed: {complete} bundles were complete, {rejected} rejected")


class Pause(Case):
    def test_the_pauses_of_parking_and_of_moving_are_printed(self):
        """Parking on a disk and in memory; medians and maxima, in ms."""
        places = {"moved": None, "parked on disk": self.folder, "parked in memory": Path("/dev/shm")}
        for name, place in places.items():
            pauses, splits = [], []
            for _ in range(PAUSES):
                source = self.guest()
                if place is None:
                    destination = self.waiting()
                    sent = self.run_migration(source, destination)
                    destination.kill()
                else:
                    bundle = place / f"migrate-test-{os.getpid()}-parked"
                    sent = self.run_migration(source, f"bundle:{bundle}")
                    shutil.rmtree(bundle)
                source.kill()
                pauses.append(sent["downtime-us"] / 1000)
                splits.append(sent["downtime-split-us"])
            pauses.sort()
            print(f"{name}: median {pauses[PAUSES // 2]:.1f}, longest {pauses[-1]:.1f}; the last one: {splits[-1]}")
            self.assertGreater(pauses[0], 0)


if __name__ == "__main__":
    runner.main(__doc__)
