#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The helpers of the tests with QEMU; it needs no QEMU."""

import contextlib
import io
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import types
import unittest
from pathlib import Path

import runner
import vm
from monitor import Qmp


class Hangs(runner.Case):
    """The runner's cases that are tested here; unittest does not find them, as their names do not begin with "test"."""

    def case_of_a_lock_that_nobody_releases(self):
        lock = threading.Lock()
        lock.acquire()
        side = self.side("/dev/null")
        side.await_words("started")
        lock.acquire()

    def case_that_passes(self):
        pass


class Runner(unittest.TestCase):
    def run_case(self, name, timeout_s):
        said = io.StringIO()
        arguments = types.SimpleNamespace(seed=1, times=1, jobs=1, timeout=timeout_s)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
            runner.Case.binary = Path(folder) / "migrate"
            runner.Case.binary.write_text("#!/bin/sh\necho started\nexec sleep 60\n")
            runner.Case.binary.chmod(0o755)
            cases = runner.Runner(arguments, folder)
            cases.run([Hangs(name)])
        return cases.results[0][2], said.getvalue()

    def test_a_case_that_hangs_fails_and_reports_what_it_waited_for(self):
        result, said = self.run_case("case_of_a_lock_that_nobody_releases", 2)
        self.assertEqual(result, "FAILED (took more than 2 s)")
        self.assertIn("in case_of_a_lock_that_nobody_releases", said)
        self.assertRegex(said, r"thread \d+ \(sleep\): state S, waits in \w+")
        self.assertIn("its output:\n    started", said)

    def test_a_case_that_ends_is_not_reported(self):
        result, said = self.run_case("case_that_passes", 60)
        self.assertEqual(result, "passed", said)


class Output(unittest.TestCase):
    def test_an_output_that_another_process_holds_open_can_be_closed(self):
        process = subprocess.Popen([*vm.END_WITH_PARENT, "sleep", "60"], stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        reader = vm.Reader(process.stdout, lambda text: None)
        self.assertFalse(reader.ends_within(0.1))
        closing = threading.Thread(target=reader.close, daemon=True)
        closing.start()
        closing.join(20)
        self.assertFalse(closing.is_alive(), "close() waits for the process")

    def test_a_character_that_is_read_in_parts_arrives_whole(self):
        words, came = [], threading.Event()

        def take(text):
            words.append(text)
            came.set()
        theirs, ours = os.pipe()
        reader = vm.Reader(open(theirs, "rb"), take)
        whole = "a…b".encode()
        os.write(ours, whole[:2])
        self.assertTrue(came.wait(20))
        os.write(ours, whole[2:])
        os.close(ours)
        self.assertTrue(reader.ends_within(20))
        reader.close()
        self.assertEqual(words, ["a", "…b", ""])


class LateAnswers(unittest.TestCase):
    def test_a_late_answer_is_not_taken_for_that_of_the_next_command(self):
        ours, theirs = socket.socketpair()
        ours.sendall(b'{"QMP": {}}\n')

        def serve():
            late = None
            with ours, ours.makefile("r") as commands:
                for line in commands:
                    request = json.loads(line)
                    if request["execute"] == "slow":
                        late = request["id"]
                        continue
                    answers = [late, request["id"]] if late else [request["id"]]
                    for number in answers:
                        ours.sendall(json.dumps({"return": number, "id": number}).encode() + b"\n")
        threading.Thread(target=serve, daemon=True).start()
        with Qmp(connected=theirs, timeout_s=0.2) as qmp:
            with self.assertRaises(vm.Trouble):
                qmp.ask("slow")
            qmp.timeout_s = 20
            self.assertEqual(qmp.ask("fast"), 3)


class Waits(unittest.TestCase):
    def test_an_end_of_the_console_ends_the_wait_for_a_line(self):
        qemu = types.SimpleNamespace(changed=threading.Condition(), lines=[], words="", rest="", console_ended=False)
        threading.Timer(0.1, lambda: vm.Qemu._take_console(qemu, "")).start()
        began = time.monotonic()
        with self.assertRaises(vm.Trouble):
            vm.Qemu.await_line(qemu, lambda line: True, 60)
        self.assertLess(time.monotonic() - began, 30)


if __name__ == "__main__":
    unittest.main()
