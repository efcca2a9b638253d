"""A QMP client of the tests' own, independent of the one in `migrate`."""

import json
import queue
import socket
import threading
import time

from waiting import WAIT_S, Trouble


class Qmp:
    """Collects QEMU's events all the time, whether or not a command is sent."""

    def __init__(self, path=None, connected=None, timeout_s=WAIT_S):
        # `connected`: a socket whose peer is QEMU, instead of a path.
        self.timeout_s = timeout_s
        self.events = []
        self.closed_at = None  # when QEMU closed the connection, by the clock
        self.changed = threading.Condition()
        self.answers = queue.Queue()
        self.asking = threading.Lock()
        self.socket = connected or socket.socket(socket.AF_UNIX)
        if connected is None:
            # It blocks while QEMU serves another client and one more waits.
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
            self._next("the greeting")
            self.ask("qmp_capabilities")
        except Trouble as trouble:
            self.close()
            raise OSError(str(trouble)) from trouble

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
            raise Trouble(f"{what}: QEMU did not answer within {self.timeout_s} s") from None
        if answer is None:
            self.answers.put(None)
            raise Trouble(f"{what}: QEMU closed its QMP socket")
        return answer

    def ask(self, command, **arguments):
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        with self.asking:
            try:
                self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            except OSError as error:
                raise Trouble(f"{command}: {error}") from error
            answer = self._next(command)
        if "error" in answer:
            raise Trouble(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def seen(self):
        """How many events came so far."""
        with self.changed:
            return len(self.events)

    def await_event(self, name, after=0, timeout_s=WAIT_S):
        """The first event of that name from number `after` on."""
        def found():
            return next((event for event in self.events[after:] if event["event"] == name), None)
        with self.changed:
            self.changed.wait_for(lambda: found() or self.closed_at, timeout_s)
            if found() is None:
                raise Trouble(f"QEMU sent no event {name}")
            return found()

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
