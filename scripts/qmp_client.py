# SPDX-License-Identifier: Apache-2.0
"""The QMP client of the scripts and of the tests in Python, independent of the one in `migrate`."""

import itertools
import json
import queue
import socket
import threading
import time

TIMEOUT_S = 60
RETRY_S = 0.05


class QmpError(Exception):
    """There is no server, it does not speak QMP, or it did not do what a command asked for."""


class Closed(QmpError):
    """The server has closed the connection."""


class Qmp:
    """Collects the server's events all the time, whether or not a command is sent. An answer is matched to its command
    by id, so that a late answer is never taken for the next command's."""

    error = QmpError  # the classes of its errors
    closed = Closed

    def __init__(self, path=None, connected=None, timeout_s=TIMEOUT_S):
        # `connected`: a socket whose peer is the server, instead of a path.
        self.timeout_s = timeout_s
        self.events = []
        self.closed_at = None  # when the server closed the connection, by the clock
        self.changed = threading.Condition()
        self.answers = queue.Queue()
        self.ids = itertools.count(1)
        self.asking = threading.Lock()
        self.socket = connected or socket.socket(socket.AF_UNIX)
        if connected is None:
            # It blocks while the server serves another client and one more waits.
            self.socket.settimeout(timeout_s)
            try:
                self.socket.connect(str(path))
            except OSError:
                self.socket.close()
                raise
        self.socket.settimeout(None)
        self.stream = self.socket.makefile("r")
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            if "QMP" not in self._next("the greeting"):
                raise self.error("the server does not greet as QMP does")
            self.ask("qmp_capabilities")
        except (self.error, self.closed) as error:
            self.close()
            raise OSError(str(error)) from error

    def _read(self):
        try:
            for line in self.stream:
                message = json.loads(line)
                if "event" in message:
                    with self.changed:
                        self.events.append(message)
                        self.changed.notify_all()
                else:
                    self.answers.put(message)
        except (OSError, ValueError):
            pass
        with self.changed:
            self.closed_at = time.time()
            self.changed.notify_all()
        self.answers.put(None)

    def _next(self, what):
        try:
            answer = self.answers.get(timeout=self.timeout_s)
        except queue.Empty:
            raise self.error(f"{what}: no answer within {self.timeout_s} s") from None
        if answer is None:
            self.answers.put(None)
            raise self.closed(f"{what}: the server closed its QMP socket")
        return answer

    def _answer_to(self, number, command):
        while True:
            answer = self._next(command)
            # An error without an id refuses a request that the server could not read. Any other answer came too late
            # for its command.
            if answer.get("id", number) == number:
                return answer

    def ask(self, command, **arguments):
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        with self.asking:
            number = next(self.ids)
            request = {"execute": command, "arguments": arguments, "id": number}
            try:
                self.socket.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise self.closed(f"{command}: {error}") from error
            answer = self._answer_to(number, command)
        if "error" in answer:
            raise self.error(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def seen(self):
        """How many events came so far."""
        with self.changed:
            return len(self.events)

    def await_event(self, name, after=0, timeout_s=TIMEOUT_S):
        """The first event of that name from number `after` on."""
        def found():
            return next((event for event in self.events[after:] if event["event"] == name), None)
        with self.changed:
            self.changed.wait_for(lambda: found() or self.closed_at, timeout_s)
            if found() is None:
                raise self.error(f"the server sent no event {name}")
            return found()

    def await_events(self, after, deadline):
        """Waits for an event from number `after` on, for the end of the connection, or until the deadline."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.events) > after or self.closed_at,
                                  max(0, deadline - time.monotonic()))
            return self.events[after:]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the reader
        except OSError:
            pass
        self.reader.join()
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(path, timeout_s):
    """Connects to a server that may still be starting."""
    deadline = time.monotonic() + timeout_s
    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(path)
            return peer
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:
            peer.close()
            if time.monotonic() >= deadline:
                raise QmpError(f"nobody serves QMP on '{path}': {error.strerror}") from error
            time.sleep(RETRY_S)
