# SPDX-License-Identifier: Apache-2.0
"""Waits that end with an event: a process that ends, a file that changes. A test that waits calls something here."""

import codecs
import ctypes
import os
import select
import threading
import time
from pathlib import Path

WAIT_S = 60
LOOK_S = 0.02
IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100  # <sys/inotify.h>
LIBC = ctypes.CDLL(None, use_errno=True)


class Trouble(Exception):
    """A test's expectation was not met."""


def eventually(check, timeout_s=WAIT_S, trouble=lambda: "it did not happen in time"):
    """Calls check() every 20 ms until its result is true, and returns that: for states that QEMU sends no event for."""
    until = time.monotonic() + timeout_s
    while not (result := check()):
        if time.monotonic() > until:
            raise Trouble(trouble())
        time.sleep(LOOK_S)
    return result


def poll_until(descriptors, until):
    """Waits until a descriptor can be read; the readable ones, none at the deadline."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0, until - time.monotonic()) * 1000)]


def ends_within(process, timeout_s):
    """Returns True if the process (a Popen) ends within `timeout_s`. Also delays a strike until a random moment,
    or until its process has ended."""
    if process.poll() is not None:
        return True
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(poll_until([descriptor], time.monotonic() + timeout_s))
    finally:
        os.close(descriptor)


class Reader:
    """Passes what comes from a pipe to take(text), in a thread; an empty text at the pipe's end. close() ends the
    thread even while another process, such as a guardian, holds the pipe's other end: a file object's close() would
    wait for the thread that reads from it."""

    def __init__(self, stream, take):
        self.stream, self.take = stream, take
        self.wake, self.waker = os.pipe()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        poll = select.poll()
        for descriptor in (self.stream.fileno(), self.wake):
            poll.register(descriptor, select.POLLIN)
        while all(ready != self.wake for ready, _ in poll.poll()):
            data = os.read(self.stream.fileno(), 65536)
            if not data:
                break
            if text := decoder.decode(data):
                self.take(text)
        self.take("")

    def ends_within(self, timeout_s):
        """Returns True if the pipe is closed within `timeout_s`."""
        self.thread.join(timeout_s)
        return not self.thread.is_alive()

    def close(self):
        if self.stream.closed:
            return
        os.close(self.waker)
        self.thread.join()
        os.close(self.wake)
        self.stream.close()


def read_text(path):
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def appears_in(path, wanted, process, timeout_s=WAIT_S):
    """Waits until the file holds the text (inotify); False if the process ends without it, or at the timeout."""
    until = time.monotonic() + timeout_s
    if process.poll() is not None:
        return wanted in read_text(path)
    changes = LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    ended = os.pidfd_open(process.pid)
    try:
        if LIBC.inotify_add_watch(changes, os.fsencode(Path(path).parent), IN_MODIFY | IN_MOVED_TO | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {Path(path).parent}")
        while wanted not in read_text(path):
            readable = poll_until([changes, ended], until)
            if not readable or ended in readable:
                return wanted in read_text(path)
            os.read(changes, 65536)
        return True
    finally:
        os.close(changes)
        os.close(ended)
