#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's own DSA programs, unmodified, take the software devices for real. Arguments: library, client program
[--whole-runner: all sizes of dsa_test's own runner, which takes minutes, and nothing else]."""

import itertools
import json
import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import with_softdsa
from with_softdsa import DSA_TEST, TEST_FOLDER, skip

# NOOP, DRAIN, MEMMOVE, FILL, COMPARE, COMPVAL, DUALCAST, CRC, copy with CRC, DIF check, insert, strip, update, flush.
OPERATIONS = (0, 2, 3, 4, 5, 6, 9, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x20)
DELTA = (7, 8)
SHARED, DEDICATED = 1, 0
# What the runner does to the kernel's modules, which are not there.
MODULES = ("_cleanup",)


def single(mode, operation, length, *more):
    return (DSA_TEST, "-w", mode, "-l", length, "-o", operation, "-t", 3000, *more)


def batch(mode, operation, count, *more):
    return (DSA_TEST, "-w", mode, "-l", 4096, "-o", 1, "-b", operation, "-c", count, "-t", 3000, *more)


class DsaTest(unittest.TestCase):
    runner = None

    def check(self, options, commands):
        done = self.runner.run_each(options, commands)
        self.assertEqual(done.returncode, 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}")

    def test_single_operations(self):
        for options in ((), ("--engines", "0")):
            with self.subTest(options=options):
                self.check(options, [single(mode, operation, 4096, "-n", 5, "-f", block)
                                     for mode, operation, block in
                                     itertools.product((SHARED, DEDICATED), OPERATIONS, (0, 1))])

    def test_batches(self):
        self.check((), [batch(mode, operation, count, "-n", 5, "-f", 0)
                        for mode, operation, count in
                        itertools.product((SHARED, DEDICATED), set(OPERATIONS) - {2}, (2, 128))])

    def test_delta_records_of_version_2(self):
        commands = [single(mode, operation, length, "-f", block)
                    for mode, operation, length, block in
                    itertools.product((SHARED, DEDICATED), DELTA, (4096, 65536), (0, 1))]
        self.check(("--version", "0x200"), commands + [batch(SHARED, operation, 16, "-f", 1) for operation in DELTA])

    def test_of_one_mode_only_and_with_timing(self):
        self.check(("--mode", "shared", "--queues", "8"), [single(SHARED, 3, 4096)])
        self.check(("--mode", "dedicated", "--queues", "1"), [single(DEDICATED, 3, 4096)])
        self.check(("--timing",), [batch(SHARED, 6, 32, "-n", 5)])


def script_of(name):
    """One of Intel's test scripts, without what it does to the kernel's modules."""
    lines = Path(TEST_FOLDER, name).read_text().splitlines()
    # Replaced, not left out: Debian 13's scripts have some of them alone in an if.
    text = "\n".join(":" if line in MODULES else line for line in lines)
    return text.replace('"$(dirname "$0")/common"', TEST_FOLDER + "common")


class ConfigurationRunner(unittest.TestCase):
    """The script that configures groups, engines and queues in every way, as Debian 13 has it."""

    runner = None

    def test_the_runner_of_configurations(self):
        name = "dsa_config_test_runner.sh"
        if not Path(TEST_FOLDER, name).exists():
            self.skipTest(f"this version of accel-config-test has no {name}")
        for version in ("0x100", "0x200"):
            with self.subTest(version=version):
                done = self.runner.run(["--unconfigured", "--version", version], ["bash", "-c", script_of(name)])
                self.assertEqual(done.returncode, 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}")


class Runner(unittest.TestCase):
    """The script that configures a device and runs dsa_test with all operations, modes and flags."""

    runner = None

    def run_script(self, options, sizes):
        text = script_of("dsa_user_test_runner.sh")
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
            file.write(re.sub(r"(?<=for xfer_size in )\$SIZE_1 .*(?=; do)", sizes, text))
            file.flush()
            done = self.runner.run([*options, "--unconfigured"], ["bash", file.name], timeout=500)
        # The script exits with 0 at its end only; a test program that fails ends it.
        self.assertEqual(done.returncode, 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return len(re.findall(r"^Testing \d+ bytes$", done.stdout, re.MULTILINE))


class ShortRunner(Runner):
    def test_the_runner_with_pages(self):
        # Without engine threads, which wait for a processor while dsa_test polls.
        self.assertEqual(self.run_script(["--engines", "0"], "$SIZE_4K"), 76 + 96)


class WholeRunner(Runner):
    def test_the_runner(self):
        self.assertEqual(self.run_script([], "$SIZE_1 $SIZE_4K $SIZE_64K $SIZE_1M $SIZE_2M"), 380 + 96)


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
    whole = "--whole-runner" in sys.argv
    library = [argument for argument in sys.argv[1:] if not argument.startswith("--")][0]
    DsaTest.runner = AccelConfig.runner = Runner.runner = ConfigurationRunner.runner = with_softdsa.Runner(library)
    if not Path(DSA_TEST).exists() or not shutil.which("accel-config"):
        skip("accel-config and accel-config-test are not installed (apt-get install accel-config accel-config-test)")
    DsaTest.runner.skip_without_namespaces()
    cases = (WholeRunner,) if whole else (DsaTest, ShortRunner, ConfigurationRunner, AccelConfig)
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
