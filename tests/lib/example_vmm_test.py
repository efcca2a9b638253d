#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Moves the guest of the example VMM by libmigrate, as two processes. Argument: example_vmm."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

# So slow that the guest dirties memory faster: the migration runs until something ends it.
ENDLESS = ("option:max-bandwidth=8M/s", "option:downtime-limit=1ms", "option:stall-limit=0")
# However busy the host is, the guest is switched over.
SEND = ("option:verify=digest", "option:downtime-limit=1000s")
LINE_LIMIT_S = 120

COMPLETED, FAILED, REFUSED, CANCELLED = 0, 1, 3, 4
AT_SOURCE, AT_DESTINATION = 1, 2


class Vmm:
    """A running example VMM, whose lines are read one after the other."""

    def __init__(self, case, *steps):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([Vmm.binary, *steps], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, bufsize=1)
        self.case = case
        case.addCleanup(self.close)

    def line(self, pattern):
        """The match of the next line of this kind; other kinds of lines before it fail, but for rounds."""
        timer = threading.Timer(LINE_LIMIT_S, self.process.kill)
        timer.start()
        try:
            while True:
                line = self.process.stdout.readline()
                found = re.fullmatch(pattern, line.rstrip("\n"))
                if found:
                    return found
                if not line.startswith("round "):
                    raise AssertionError(f"expected {pattern}, got {line!r}\n{self.messages()}")
        finally:
            timer.cancel()

    def address(self):
        return self.line(r"listening (\S+)")[1]

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def outcome(self):
        """(outcome, owner, reason)."""
        found = self.line(r"outcome (-?\d+) owner (\d) ?(.*)")
        return int(found[1]), int(found[2]), found[3]

    def checked(self):
        return int(self.line(r"checked (\d+)")[1])

    def ends_well(self):
        self.case.assertEqual(self.process.wait(LINE_LIMIT_S), 0, self.messages())

    def messages(self):
        self.errors.seek(0)
        return self.errors.read()

    def close(self):
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            try:
                file.close()
            except OSError:
                pass


class ExampleVmm(unittest.TestCase):
    def there_and_back(self, *extra):
        here = Vmm(self, *extra, "start", "run:50", *SEND, "send:-", "recv:127.0.0.1:0", "run:20", "check")
        there = Vmm(self, *extra, "recv:127.0.0.1:0", "run:20", "check", "run:20", *SEND, "send:-")
        here.tell(there.address())
        self.assertEqual(here.outcome()[:2], (COMPLETED, AT_DESTINATION))
        self.assertEqual(there.outcome()[:2], (COMPLETED, AT_DESTINATION))
        first = there.checked()
        there.tell(here.address())
        self.assertEqual(there.outcome()[:2], (COMPLETED, AT_DESTINATION))
        self.assertEqual(here.outcome()[:2], (COMPLETED, AT_DESTINATION))
        self.assertGreater(here.checked(), first)
        here.ends_well()
        there.ends_well()

    def test_guest_moves_there_and_back(self):
        self.there_and_back()

    def test_guest_whose_vmm_finds_the_writes_moves_there_and_back(self):
        self.there_and_back("log")

    def test_guest_goes_on_at_its_source_when_the_receiver_is_killed(self):
        here = Vmm(self, "start", *ENDLESS, "option:reconnect-timeout=0", "send:-", "run:20", "check", *SEND, "send:-")
        there = Vmm(self, "recv:127.0.0.1:0")
        here.tell(there.address())
        here.line("round 2")
        os.kill(there.process.pid, signal.SIGKILL)
        outcome, owner, reason = here.outcome()
        self.assertEqual((outcome, owner), (FAILED, AT_SOURCE), reason)
        self.assertNotEqual(reason, "")
        here.checked()
        # It can be moved to another receiver.
        another = Vmm(self, "recv:127.0.0.1:0", "run:20", "check")
        here.tell(another.address())
        self.assertEqual(here.outcome()[:2], (COMPLETED, AT_DESTINATION))
        self.assertEqual(another.outcome()[:2], (COMPLETED, AT_DESTINATION))
        another.checked()

    def test_receiver_has_no_guest_when_the_sender_is_killed(self):
        here = Vmm(self, "start", *ENDLESS, "option:reconnect-timeout=0", "send:-")
        there = Vmm(self, "recv:127.0.0.1:0", "recv:127.0.0.1:0", "run:20", "check")
        here.tell(there.address())
        here.line("round 2")
        os.kill(here.process.pid, signal.SIGKILL)
        outcome, owner, reason = there.outcome()
        self.assertEqual((outcome, owner), (FAILED, AT_SOURCE), reason)
        # The same memory receives another guest.
        another = Vmm(self, "start", "run:30", *SEND, "send:-")
        another.tell(there.address())
        self.assertEqual(there.outcome()[:2], (COMPLETED, AT_DESTINATION))
        there.checked()

    def test_cancel_leaves_the_guest_at_its_source(self):
        here = Vmm(self, "start", *ENDLESS, "cancel:2", "send:-", "run:20", "check")
        there = Vmm(self, "recv:127.0.0.1:0")
        here.tell(there.address())
        self.assertEqual(here.outcome(), (CANCELLED, AT_SOURCE, "the example cancels"))
        outcome, owner, reason = there.outcome()
        self.assertEqual((outcome, owner), (CANCELLED, AT_SOURCE))
        self.assertIn("the example cancels", reason)
        here.checked()
        here.ends_well()
        there.ends_well()

    def test_receiver_of_another_name_refuses_the_guest(self):
        here = Vmm(self, "start", "option:guest-name=one", "send:-", "check")
        there = Vmm(self, "option:guest-name=two", "option:listen-timeout=500ms", "recv:127.0.0.1:0")
        here.tell(there.address())
        outcome, owner, reason = here.outcome()
        self.assertEqual((outcome, owner), (REFUSED, AT_SOURCE), reason)
        self.assertIn("guest-name", reason)
        here.checked()
        # No other sender comes.
        self.assertEqual(there.outcome()[0], FAILED)


if __name__ == "__main__":
    Vmm.binary = sys.argv.pop()
    unittest.main()
