"""When a QEMU's guest ran, by QEMU's own events and their times, which the QEMUs of one host take from one clock. What
happens between two looks at a QEMU's state is not missed that way."""

import json
import threading
import time

import vm

FOREVER = float("inf")


class RunWatch:
    """Listens at a QMP socket that nobody else uses, until QEMU ends."""

    def __init__(self, path, running):
        self.lock = threading.Lock()
        self.runs = [[time.time(), FOREVER]] if running else []  # [since, until], by the clock
        self.events = []  # (when, name), for messages
        self.qmp = vm.Qmp(path)
        self.qmp.socket.settimeout(None)
        for event in self.qmp.events:
            self._note(event)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        try:
            for line in self.qmp.stream:
                message = json.loads(line)
                if "event" in message:
                    self._note(message)
        except (OSError, ValueError):
            pass
        self.ended(time.time())

    def _note(self, message):
        stamp = message["timestamp"]
        when = stamp["seconds"] + stamp["microseconds"] / 1e6
        with self.lock:
            self.events.append((when, message["event"]))
            if message["event"] == "RESUME" and not self._running():
                self.runs.append([when, FOREVER])
            elif message["event"] == "STOP" and self._running():
                self.runs[-1][1] = when

    def _running(self):
        return bool(self.runs) and self.runs[-1][1] == FOREVER

    def ended(self, when):
        """It was killed then; before its socket says so."""
        with self.lock:
            if self._running():
                self.runs[-1][1] = when

    def running(self):
        with self.lock:
            return self._running()

    def ran(self):
        """[since, until] of each time that the guest ran."""
        with self.lock:
            return [tuple(run) for run in self.runs]

    def close(self):
        self.qmp.socket.close()


def overlaps(one, other):
    """When both guests ran, as [since, until] each."""
    return [(max(a[0], b[0]), min(a[1], b[1])) for a in one.ran() for b in other.ran() if
            max(a[0], b[0]) < min(a[1], b[1])]
