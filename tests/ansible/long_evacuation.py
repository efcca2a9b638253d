# SPDX-License-Identifier: Apache-2.0
"""20 guests, four at a time over 1 Gbit/s: 12 built-in ones, and 4 in each of two QEMUs. One destination fails half-way.

MIGRATE_TEST_KEEP names a file for the report, and MIGRATE_TEST_GUESTS a folder that keeps the guests once they have booted.
"""

import json
import os
import shutil
from pathlib import Path

from cases import Evacuated  # which adds the folder of the next ones to the path

import vm
from environment import SYSTEMS, build_initramfs, find_kernel, is_version
from waiting import eventually

FAILING = "second"  # of the destinations
LIMITS = {"built-in": "300ms", "7.2": "1s", "10": "1s"}
# QEMU 7.2 moves memory in shared files only.
SHAPES = {"7.2": {"backend": "file"}, "10": {"backend": "private"}}
GUEST = {"memory_mib": 160, "rewrite_mib": 24, "rate": 2}


def find_qemu(version):
    candidates = (str(SYSTEMS / f"qemu-{version}" / "qemu-system-x86_64"), "qemu-system-x86_64")
    return next((path for path in candidates if is_version(path, version)), None)


def reason_to_skip():
    """Why the QEMUs cannot run here; empty if they can."""
    missing = [version for version in SHAPES if find_qemu(version) is None]
    if missing:
        return f"there is no QEMU {' and no QEMU '.join(missing)}; scripts/fetch-test-systems unpacks them"
    return "" if find_kernel() else "there is no kernel for the guest; scripts/fetch-test-systems kernel fetches it"


class Long(Evacuated):
    def setUp(self):
        super().setUp()
        self.qemus = {version: find_qemu(version) for version in SHAPES}
        vm.BOOT_S = 600  # many guests share the processors
        self.image = build_initramfs(self.folder)
        self.sources, self.waiting = {}, {}  # by the guest's name; the latter by (name, host)

    def qemu(self, version, start):
        vm.QEMU = self.qemus[version]
        qemu = start()
        self.addCleanup(qemu.kill)
        return qemu

    def add_qemu_guest(self, network, booted, version, number, destination):
        name = f"qemu{version}-{number}"
        shape = {**GUEST, **SHAPES[version]}
        self.sources[name] = self.qemu(version, lambda: booted[version].start(**shape))
        fallback = ["third"] if destination == FAILING else []
        for host in [destination, *fallback]:
            waiting = self.qemu(version, lambda: vm.Qemu(self.image, incoming=True, **shape))
            self.waiting[name, host] = waiting
            (self.folder / f"{host}-{name}.qmp").symlink_to(waiting.qmp_path)
        return {"name": name, "source": f"qemu:{self.sources[name].qmp_path}", "destination": destination,
                "fallback": fallback, "sink": f"qemu:{self.folder}/{{to}}-{name}.qmp", "downtime_limit": LIMITS[version]}

    def guests(self, network):
        booted = {}
        for version in SHAPES:
            folder = Path(os.environ.get("MIGRATE_TEST_GUESTS", self.folder)) / f"booted-{version}"
            folder.mkdir(parents=True, exist_ok=True)
            booted[version] = vm.BootedGuests(self.image, folder)
        rows = []
        for number in range(4):
            destination = ("first", FAILING)[number % 2]
            rows += [{"name": f"builtin-{number}-{each}", "source": f"workload:192M,rate=10,seed={number * 3 + each}",
                      "destination": ("first", FAILING, "third")[each], "fallback": ["third"] if each == 1 else [],
                      "downtime_limit": LIMITS["built-in"]} for each in range(3)]
            rows += [self.add_qemu_guest(network, booted, version, number, destination) for version in SHAPES]
        for number, row in enumerate(rows):
            row["port"] = 4500 + number
            row["options"] = {"stats": f"{self.folder}/{row['name']}.stats", "multifd-channels": 2}
        return rows

    def test_all_guests_leave_the_host_although_a_destination_fails(self):
        network = self.network("source", "first", FAILING, "third")
        rows = self.guests(network)
        run = self.begin(network, rows, "--forks", "4", evacuate_parallel=4, evacuate_measure_seconds=1,
                         evacuate_poll=3)
        eventually(lambda: run.process.poll() is not None or (
            self.completed(rows) >= len(rows) // 2 - 3 and self.moves_to(network, FAILING)), 1200)
        print(f"{FAILING} fails after {self.completed(rows)} guests, during the moves of "
              f"{', '.join(self.moves_to(network, FAILING))}", flush=True)
        network.fail(FAILING)
        code = run.wait(1800)
        print(run.output(), flush=True)
        keep = os.environ.get("MIGRATE_TEST_KEEP")
        if keep:
            shutil.copy(run.report_file, keep)
        self.assertEqual(code, 0)
        results = {row["guest"]: row for row in run.report()["guests"]}
        self.assertEqual([row["guest"] for row in results.values() if row["exit_code"] != 0], [])
        self.assertTrue([row for row in results.values() if row["attempts"] > 1], "no move failed")
        self.assertTrue([row for row in results.values() if row["now"] == FAILING], "no guest had arrived there")
        self.assertLessEqual(self.most_at_once(rows), 4)
        self.check_qemu_guests(results)
        self.check_builtin_guests(network, run, [row["name"] for row in rows if row["source"].startswith("workload:")])
        self.assertEqual([(row["guest"], row["downtime"]) for row in results.values() if not row["within_limit"]], [])

    def stats(self, row):
        path = self.folder / f"{row['name']}.stats"
        try:
            return json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def completed(self, rows):
        return sum(self.stats(row).get("outcome") == "completed" for row in rows)

    def moves_to(self, network, host):
        """The guests that are received there now."""
        sent = network.commands(network.hosts[0], "send")
        return sorted(name for name in network.commands(host, "recv") if name in sent)

    def most_at_once(self, rows):
        """The largest number of moves at one time, of the last attempts."""
        changes = []
        for row in rows:
            stats = self.stats(row)
            changes += [(stats["began"], 1), (stats["ended"], -1)]
        most = now = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def check_qemu_guests(self, results):
        """Each guest runs in one QEMU, goes on where it was, and finds in its memory what it wrote."""
        for name, source in self.sources.items():
            running = [host for (guest, host), qemu in self.waiting.items()
                       if guest == name and qemu.state_if_alive() == "running"]
            self.assertEqual((running, source.state() == "running"), ([results[name]["now"]], False), name)
            destination = self.waiting[name, running[0]]
            destination.await_more()
            vm.check_went_on(source, destination)
