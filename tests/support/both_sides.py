# SPDX-License-Identifier: Apache-2.0
"""A `migrate recv` and a `migrate send`, run as processes with their statistics and events."""

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "tests/qemu"), str(PROJECT / "scripts")]

from faults import CuttableRoute  # noqa: E402
from receivers import start_receiver  # noqa: E402
from waiting import eventually  # noqa: E402

ENDS_WITHIN_S = 60


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Run:
    """A `migrate recv` and a `migrate send` with their statistics and events in a folder."""

    def __init__(self, binary, folder, source, sink="anon:", send=(), recv=(), relay=False):
        self.folder = Path(folder)
        for old in (*self.folder.glob("*.json"), *self.folder.glob("*.events")):
            old.unlink()
        self.receiver, self.port = start_receiver(binary, self.folder / "port", "--sink", sink, *recv,
                                                  *self.files("recv"), stderr=subprocess.PIPE)
        self.relay = CuttableRoute() if relay else None
        endpoint = f"127.0.0.1:{self.port}"
        self.first = {"recv": self.stats("recv")}
        route = self.relay.to(endpoint) if relay else endpoint
        self.sender = subprocess.Popen(
            [binary, "send", "--connect", route, "--source", source, *send, *self.files("send")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def files(self, side):
        """The options that name the files of a side."""
        return "--stats", self.folder / f"{side}.json", "--events", self.folder / f"{side}.events"

    def stats(self, side):
        return json.loads((self.folder / f"{side}.json").read_text())

    def events(self, side):
        return read_lines(self.folder / f"{side}.events")

    def await_event(self, side, name):
        path = self.folder / f"{side}.events"
        eventually(lambda: path.exists() and f'"event":"{name}"' in path.read_text())

    def end(self):
        codes = []
        self.errors = ""
        for process in (self.sender, self.receiver):
            try:
                self.errors += process.communicate(timeout=ENDS_WITHIN_S)[1]
            except subprocess.TimeoutExpired:
                self.errors += self._ended_by_force()
                raise AssertionError(f"a side did not end within {ENDS_WITHIN_S} s:\n{self.errors}") from None
            codes.append(process.returncode)
        if self.relay:
            self.relay.cut()
        return tuple(codes)

    def _ended_by_force(self):
        words = ""
        for process in (self.sender, self.receiver):
            process.kill()
            words += process.communicate()[1] or ""
        return words
