#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A program that was built for DSA hardware runs under scripts/with-softdsa. Arguments: library, client program."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from with_softdsa import SCRIPT, Runner

# Cases of softdsa_client, by the options under which they hold.
ANY = ("enqcmd", "flags", "user-wait", "movdir64b", "page-fault", "open-twice", "fork", "handlers", "signals", "signal-stack")
CASES = (
    ((), (*ANY, "latency")),
    (("--engines", "0"), (*ANY, "threads", "poll-bound")),
    (("--faults", "wq0.full=3"), ("full",)),
    (("--faults", "wq0.write=EAGAIN@2"), ("write-partial",)),
    (("--version", "0x100"), ("write-errors",)),
    (("--no-mmap",), ("mmap-refused",)),
    (("--devices", "2"), ("mmap-length",)),
    (("--size", "8", "--engines", "2"), ("threads",)),
)


class Client(unittest.TestCase):
    runner = None
    client = ""

    def test_every_case_holds(self):
        for options, cases in CASES:
            with self.subTest(cases=cases):
                done = self.runner.run_each(options, [(self.client, case) for case in cases])
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                print(done.stdout, end="")

    def test_a_device_of_version_0x100_lists_neither_batch_nor_delta(self):
        files = ["/sys/bus/dsa/devices/dsa0/op_cap", "/sys/bus/dsa/devices/dsa0/wq0.0/op_config"]
        for version, last in (("0x100", "003f027d"), ("0x200", "003f03ff")):
            with self.subTest(version=version):
                done = self.runner.run(["--version", version], ["cat", *files])
                for line in done.stdout.splitlines():
                    self.assertEqual(line.split(",")[-2:], ["00000001", last])

    def test_a_client_without_the_library_faults_on_the_node(self):
        done = self.runner.run([], ["env", "-u", "LD_PRELOAD", self.client, "movdir64b"])
        self.assertIn(done.returncode, (-signal.SIGBUS, -signal.SIGILL))

    def test_a_write_without_the_library_fails_and_does_not_grow_the_node(self):
        script = "printf %064d 0 > /dev/dsa/wq0.0; stat -c %s /dev/dsa/wq0.0"
        done = self.runner.run([], ["env", "-u", "LD_PRELOAD", "bash", "-c", script])
        self.assertEqual(done.stdout, "0\n")
        self.assertIn("No space left", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become another user")
    def test_a_user_without_rights_keeps_its_identity(self):
        """Everything the user reads is copied: the source tree may be root's alone."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            names = []
            for path in (SCRIPT, self.runner.library, self.client):
                names.append(os.path.join(folder, os.path.basename(path)))
                subprocess.run(["install", "-m", "755", path, names[-1]], check=True)
            script, library, client = names
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", script,
                       "--library", library, "--", "bash", "-c", f"{client} enqcmd && id -u"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode == 125 and "mount namespace" in done.stderr:
                self.skipTest(done.stderr.strip())
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "65534\n", ""))


class Command(unittest.TestCase):
    """The handling of COMMAND: its exit status, signals and environment."""

    runner = None

    def test_exit_status_is_passed_on(self):
        self.assertEqual(self.runner.run([], ["sh", "-c", "exit 42"]).returncode, 42)
        self.assertEqual(self.runner.run([], ["no-such-command"]).returncode, 127)

    def test_signals_reach_the_command(self):
        running = subprocess.Popen([SCRIPT, "--library", self.runner.library, "--", "sh", "-c", "echo on; exec sleep 60"],
                                   stdout=subprocess.PIPE, text=True)
        self.assertEqual(running.stdout.readline(), "on\n")
        running.terminate()
        self.assertEqual(running.wait(30), -signal.SIGTERM)
        running.stdout.close()

    def test_nothing_is_left_behind(self):
        def what_is_there():
            return (os.path.exists("/dev/dsa"), os.path.exists("/sys/bus/dsa"), os.path.exists("/sys/module/idxd"),
                    "softdsa" in Path("/proc/self/mountinfo").read_text())

        before = what_is_there()
        self.runner.run([], ["true"])
        self.assertEqual(what_is_there(), before)

    def test_the_other_devices_and_buses_are_there(self):
        script = "echo x >/dev/null && head -c 1 /dev/zero | wc -c && ls /sys/bus"
        buses = self.runner.run([], ["sh", "-c", script]).stdout.split()
        self.assertEqual(set(buses), {"1", "dsa"} | set(os.listdir("/sys/bus")))

    def test_wrong_options_are_refused_by_name(self):
        for options, words in (
                (["--queues", "9"], "--queues takes a whole number from 1 to 8, not '9'"),
                (["--mode", "private"], "--mode is shared, dedicated or mixed"),
                (["--size", "8", "--threshold", "9"], "--threshold takes a whole number from 1 to 8"),
                (["--timing=fast"], "--timing takes"),
                (["--nonsense"], "unknown option '--nonsense'")):
            with self.subTest(options=options):
                done = self.runner.run(options, ["true"])
                self.assertEqual(done.returncode, 2)
                self.assertIn(words, done.stderr)

    def test_a_wrong_fault_plan_is_refused_before_the_command_runs(self):
        done = self.runner.run(["--faults", "explode"], ["echo", "ran"])
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("explode", done.stderr)

    def test_a_missing_library_is_named(self):
        done = Runner("/nonexistent/library.so").run([], ["true"])
        self.assertEqual(done.returncode, 125)
        self.assertIn("/nonexistent/library.so", done.stderr)


class Library(unittest.TestCase):
    library = ""

    def test_shows_only_its_hooks(self):
        hooks = {"open", "open64", "openat", "openat64", "__open_2", "__open64_2", "__openat_2", "__openat64_2", "mmap",
                 "mmap64", "munmap", "mremap", "write", "pwrite", "pwrite64", "writev", "fopen", "fopen64", "fflush",
                 "fclose", "sigaction", "signal", "bsd_signal", "ssignal", "sigprocmask", "pthread_sigmask"}
        listed = subprocess.run(["nm", "-D", "--defined-only", self.library], capture_output=True, text=True,
                                check=True)
        self.assertEqual({line.split()[-1] for line in listed.stdout.splitlines()}, hooks)

    def test_needs_only_the_c_library(self):
        listed = subprocess.run(["readelf", "-d", self.library], capture_output=True, text=True, check=True).stdout
        needed = {line.split("[")[1].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line}
        self.assertLessEqual(needed, {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"})

    def test_takes_no_memcpy_from_outside(self):
        listed = subprocess.run(["nm", "-D", "--undefined-only", self.library], capture_output=True, text=True,
                                check=True)
        wanted = {line.split()[-1].split("@")[0] for line in listed.stdout.splitlines()}
        self.assertEqual(wanted & {"memcpy", "memmove", "memset", "memcmp"}, set())


if __name__ == "__main__":
    Client.client = sys.argv.pop()
    Library.library = sys.argv.pop()
    Client.runner = Command.runner = Runner(Library.library)
    Client.runner.skip_without_namespaces()
    unittest.main()
