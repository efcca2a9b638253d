#!/usr/bin/env python3
"""Debian's own DSA programs, unmodified, take the software devices for real. Arguments: library, client program."""

import itertools
import json
import shutil
import sys
import unittest
from pathlib import Path

from with_softdsa import Runner, skip

DSA_TEST = "/usr/libexec/accel-config/test/dsa_test"
# NOOP, DRAIN, MEMMOVE, FILL, COMPARE, COMPVAL, DUALCAST: of these dsa_test batches the middle three.
OPERATIONS = (0, 2, 3, 4, 5, 6, 9)
BATCHED = (3, 5, 6)
SHARED, DEDICATED = 1, 0


class DsaTest(unittest.TestCase):
    runner = None

    def check(self, options, *arguments):
        done = self.runner.run(options, [DSA_TEST, *map(str, arguments)])
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}{done.stderr}")

    def test_single_operations(self):
        for mode, operation in itertools.product((SHARED, DEDICATED), OPERATIONS):
            with self.subTest(mode=mode, operation=operation):
                self.check([], "-w", mode, "-l", 4096, "-o", operation, "-f", 0, "-t", 3000)
                self.check([], "-w", mode, "-l", 65536, "-o", operation, "-n", 20, "-f", 1, "-t", 3000)

    def test_batches(self):
        for mode, operation in itertools.product((SHARED, DEDICATED), BATCHED):
            for count, rounds in ((2, 1), (16, 5), (128, 20)):
                with self.subTest(mode=mode, operation=operation, count=count):
                    self.check([], "-w", mode, "-l", 4096, "-o", 1, "-b", operation, "-c", count, "-n", rounds,
                               "-f", 0, "-t", 3000)

    def test_of_one_mode_only_and_with_timing(self):
        self.check(["--mode", "shared", "--queues", "8"], "-w", SHARED, "-l", 4096, "-o", 3, "-t", 3000)
        self.check(["--mode", "dedicated", "--queues", "1"], "-w", DEDICATED, "-l", 4096, "-o", 3, "-t", 3000)
        self.check(["--timing"], "-w", SHARED, "-l", 4096, "-o", 1, "-b", 6, "-c", 32, "-n", 5, "-t", 3000)


class AccelConfig(unittest.TestCase):
    runner = None

    def listed(self, *options):
        done = self.runner.run(options, ["accel-config", "list"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    @staticmethod
    def queues(device):
        return [queue for group in device["groups"] for queue in group.get("grouped_workqueues", ())]

    def test_list_shows_the_default_device(self):
        (device,) = self.listed()
        self.assertEqual((device["dev"], device["state"], device["version"]), ("dsa0", "enabled", "0x100"))
        self.assertEqual([(q["dev"], q["mode"], q["size"], q["state"], q["type"]) for q in self.queues(device)],
                         [("wq0.0", "shared", 64, "enabled", "user"), ("wq0.1", "dedicated", 64, "enabled", "user")])

    def test_list_shows_what_was_asked_for(self):
        devices = self.listed("--devices", "3", "--queues", "8", "--mode", "shared", "--size", "12", "--threshold", "6",
                              "--max-batch", "32", "--max-transfer", "65536", "--engines", "2", "--numa-node", "1")
        self.assertEqual([device["dev"] for device in devices], ["dsa0", "dsa1", "dsa2"])
        for device in devices:
            queues = self.queues(device)
            self.assertEqual(device["numa_node"], 1)
            self.assertEqual(len(queues), 8)
            self.assertEqual(len(device["groups"][0]["grouped_engines"]), 2)
            for queue in queues:
                self.assertEqual((queue["mode"], queue["size"], queue["threshold"], queue["max_batch_size"],
                                  queue["max_transfer_size"]), ("shared", 12, 6, 32, 65536))


if __name__ == "__main__":
    sys.argv.pop()
    DsaTest.runner = AccelConfig.runner = Runner(sys.argv.pop())
    if not Path(DSA_TEST).exists() or not shutil.which("accel-config"):
        skip("accel-config and accel-config-test are not installed (apt-get install accel-config accel-config-test)")
    DsaTest.runner.skip_without_namespaces()
    unittest.main()
