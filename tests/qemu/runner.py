# SPDX-License-Identifier: Apache-2.0
"""Runs the cases of a test script, each in a process and a folder of its own, so that several can run at once and one
that hangs or dies takes no other along."""

import argparse
import ctypes
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass
from pathlib import Path

import hang_report
import vm
from credentials import with_credentials
from environment import SKIPPED, build_initramfs, image_in, require_guest

SEED = 1
CASE_S = 240  # a case that takes longer is ended, with a report of what it waited for
REPORT_S = 30  # that the report may take
# Moves of a guest that goes there and back; 2 are once in each direction.
MOVES = int(os.environ.get("MIGRATE_TEST_MOVES", "2"))
PRCTL = ctypes.CDLL(None).prctl  # found before any fork, which leaves the dynamic linker's locks as they are
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
RESULTS = {0: "passed", 1: "FAILED", SKIPPED: "skipped"}


def each(*values, names=None):
    """Decorates a test method that takes a value: it becomes one case for each of the values."""
    def mark(function):
        function.each_of = dict(zip(names or values, values))
        return function
    return mark


class Case(unittest.TestCase):
    """A test of a `migrate`. The runner sets these before a case begins."""

    binary = None  # the `migrate` to test
    folder = None  # of this case alone
    image = None  # the guest's initramfs
    booted = None  # vm.BootedGuests
    chance = None  # random.Random of the case's seed

    shape = {}  # of this class's QEMUs
    migration = None  # the last one, once one has begun

    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        for name, function in list(vars(cls).items()):
            values = getattr(function, "each_of", None)
            if values is None:
                continue
            delattr(cls, name)
            for of, value in values.items():
                setattr(cls, f"{name} ({of})", lambda self, function=function, value=value: function(self, value))

    def own(self, qemu):
        self.addCleanup(qemu.kill)
        return qemu

    def boot(self, **options):
        """A QEMU whose guest has just booted."""
        qemu = self.own(vm.Qemu(self.image, **{**self.shape, **options}))
        qemu.await_boot()
        return qemu

    def guest(self, **options):
        """A QEMU whose guest booted once for all cases, and runs."""
        return self.own(self.booted.start(**{**self.shape, **options}))

    def waiting(self, **options):
        """A QEMU that waits for a guest."""
        return self.own(vm.Qemu(self.image, incoming=True, **{**self.shape, **options}))

    def begin(self, source, destination, *options, **more):
        """A migration, which is self.migration too."""
        self.migration = vm.Migration(self.binary, source, destination, self.folder, *options, **more)
        self.addCleanup(self.migration.end)
        return self.migration

    def side(self, *arguments):
        side = vm.Side(self.binary, *arguments)
        self.addCleanup(side.end)
        return side

    def check_succeeds(self):
        self.assertEqual(self.migration.wait(), (0, 0), self.migration.words())

    def check_arrived(self, source, destination):
        """The guest goes on at the destination where it stopped at the source."""
        destination.await_more()
        vm.check_went_on(source, destination)

    def check_runs(self, qemu, ticks=10):
        """The guest runs on, and finds in every page what it wrote."""
        last = qemu.await_more(ticks)
        self.assertEqual(last[3], 0, "the guest found pages that hold something else than it wrote")

    def check_refused(self, reason, *arguments, code=3, prefix=()):
        done = subprocess.run([*prefix, self.binary, *with_credentials(arguments)], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(reason, done.stderr)


def name_of(test):
    """The class and the behaviour: "Disks: a disk with direct I/O is added"."""
    function = test.id().removeprefix("__main__.").split(".", 1)[1]
    behaviour, *of = function.removeprefix("test_").split(" (", 1)
    return f"{type(test).__name__}: {' ('.join([behaviour.replace('_', ' '), *of])}"


def find_cases(pattern):
    def flat(suite):
        for test in suite:
            yield from flat(test) if isinstance(test, unittest.TestSuite) else (test,)
    tests = flat(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    return [test for test in tests if re.search(pattern, name_of(test), re.IGNORECASE)]


@dataclass
class Running:
    name: str
    turn: int  # the repetition, from 1 on
    seed: int
    folder: Path
    pid: int
    began: float

    def output(self):
        return (self.folder / "output").read_text(errors="replace")


def run_in_child(test, name, seed, folder, timeout_s):
    """Runs the case; never returns."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before that.
    if os.getppid() == 1:
        os._exit(1)
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    hang_report.arm(timeout_s, 2)
    tempfile.tempdir = str(folder)
    Case.folder, Case.chance = folder, random.Random(f"{name} {seed}")
    code = 1
    try:
        result = unittest.TestResult()
        test.run(result)
        for _, trace in [*result.failures, *result.errors]:
            print(trace)
        if not result.wasSuccessful() and test.migration is not None:
            print(f"the last migration said:\n{test.migration.words()[-4000:]}")
        for _, reason in result.skipped:
            print(f"skipped: {reason}")
        code = 1 if not result.wasSuccessful() else SKIPPED if result.skipped else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Runner:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, Path(folder)
        self.results = []  # (name, seed, result)
        self.running = {}  # by pidfd

    def start(self, test, turn):
        seed = self.arguments.seed + turn
        folder = Path(tempfile.mkdtemp(prefix="case", dir=self.folder))
        name = name_of(test)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            run_in_child(test, name, seed, folder, self.arguments.timeout)
        self.running[os.pidfd_open(pid)] = Running(name, turn + 1, seed, folder, pid, time.monotonic())

    def await_one(self):
        """Waits until a case ends. One that takes too long ends itself; one that does not even do that is killed."""
        poll = select.poll()
        for descriptor in self.running:
            poll.register(descriptor, select.POLLIN)
        longest = self.arguments.timeout + REPORT_S
        first = min(case.began for case in self.running.values()) + longest
        ended = poll.poll(max(0, first - time.monotonic()) * 1000)
        for case in self.running.values():
            if not ended and time.monotonic() >= case.began + longest:
                os.kill(case.pid, signal.SIGKILL)
                poll.poll(REPORT_S * 1000)
        for descriptor, _ in ended:
            self.finish(descriptor)

    def finish(self, descriptor):
        case = self.running.pop(descriptor)
        os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(case.pid, 0)[1])
        result = RESULTS.get(code, f"FAILED (ended by signal {-code})")
        if time.monotonic() - case.began >= self.arguments.timeout:
            result = f"FAILED (took more than {self.arguments.timeout} s)"
        self.results.append((case.name, case.seed, result))
        times = f"repetition {case.turn} of {self.arguments.times}, " if self.arguments.times > 1 else ""
        print(f"{result}: {case.name} ({times}seed {case.seed}, {time.monotonic() - case.began:.1f} s)")
        for line in case.output().splitlines():
            print(f"    {line}")
        sys.stdout.flush()
        clean_up(case)

    def run(self, tests):
        work = [(test, turn) for turn in range(self.arguments.times) for test in tests]
        try:
            while work or self.running:
                while work and len(self.running) < self.arguments.jobs:
                    self.start(*work.pop(0))
                self.await_one()
        finally:
            for case in self.running.values():
                os.kill(case.pid, signal.SIGKILL)
                os.waitpid(case.pid, 0)
                clean_up(case)  # the rest of its processes end with it

    def count(self, word):
        return sum(result.startswith(word) for _, _, result in self.results)


def clean_up(case):
    """Removes what a case left behind that was killed."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mounted = line.split()[4]
        if mounted.startswith(f"{case.folder}/"):
            subprocess.run(["umount", "--lazy", mounted], check=True)
    for path in Path("/dev/shm").glob(f"migrate-test-{case.pid}[-.]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(case.folder)


def exit_once(number, _frame):
    """timeout(1) sends its signal twice; the second does not interrupt the cleaning up."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def parse_arguments(doc):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("migrate", nargs="?", type=Path, help="the program to test")
    parser.add_argument("--case", default="", metavar="REGEX", help="run the cases whose name matches; default all")
    parser.add_argument("--name", metavar="NAME", help="run the case of exactly this name")
    parser.add_argument("--guests", type=Path, metavar="FOLDER", help="share the booted guests in this folder with other "
                        "runs; guests_folder.py makes it")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="run each case N times, with seeds SEED, "
                        "SEED + 1, ...; default 1")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"seed of random choices; default {SEED}")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run N cases at once; default 1")
    parser.add_argument("--timeout", type=int, default=CASE_S, metavar="S", help="end a case that takes longer, with a "
                        f"report of what it waited for; default {CASE_S}")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and exit")
    arguments = parser.parse_args()
    if not arguments.list and arguments.migrate is None:
        parser.error("the program to test is missing")
    if arguments.times < 1 or arguments.jobs < 1:
        parser.error("--times and --jobs take a number from 1 on")
    return parser, arguments


def main(doc):
    parser, arguments = parse_arguments(doc)
    pattern = arguments.case if arguments.name is None else f"^{re.escape(arguments.name)}$"
    tests = find_cases(pattern)
    if not tests:
        parser.error(f"no case matches {pattern}; --list prints all")
    if arguments.list:
        print(*map(name_of, tests), sep="\n")
        return
    require_guest()
    # So that an end by ctest or timeout(1) cleans up, too.
    signal.signal(signal.SIGTERM, exit_once)
    began = time.monotonic()
    print(f"{vm.QEMU}, seed {arguments.seed}, {len(tests)} cases, {arguments.times} times each, "
          f"{arguments.jobs} at once", flush=True)
    with tempfile.TemporaryDirectory(prefix="migrate-qemu-test.") as folder:
        guests = arguments.guests or folder
        Case.binary = arguments.migrate.resolve()
        Case.image = image_in(guests) if arguments.guests else build_initramfs(guests)
        Case.booted = vm.BootedGuests(Case.image, guests)
        runner = Runner(arguments, folder)
        runner.run(tests)
    for name, seed, result in runner.results:
        if result.startswith("FAILED"):
            print(f"{result}: {name} (seed {seed})")
    failed, skipped = runner.count("FAILED"), runner.count("skipped")
    print(f"{len(runner.results)} runs in {time.monotonic() - began:.0f} s: {runner.count('passed')} passed, "
          f"{failed} failed, {skipped} skipped")
    sys.exit(1 if failed else SKIPPED if skipped == len(runner.results) else 0)
