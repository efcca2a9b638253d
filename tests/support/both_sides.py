# SPDX-License-Identifier: Apache-2.0
"""A `migrate recv` and a `migrate send`, run as processes with their statistics and events."""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "qemu"))

from faults import CuttableRoute  # noqa: E402
from waiting import eventually  # noqa: E402

ENDS_WITHIN_S = 60


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Run:
    """A `migrate recv` and a `migrate send` with their statistics and events in a folder."""

    def __init__(self, binary, folder, source, sink="anon:", send=(), recv=(), relay=False):
        self.folder = Path(folder)
        self.binary = binary
        port_file = self.folder / "port"
        for old in (port_file, *self.folder.glob("*.json"), *self.folder.glob("*.events")):
            old.unlink(missing_ok=True)
        self.receiver = self.start("recv", "--listen", "127.0.0.1:0", "--sink", sink, "--port-file", port_file, *recv)
        eventually(lambda: port_file.exists() or self.receiver.poll() is not None)
        self.port = int(port_file.read_text())
        self.relay = CuttableRoute() if relay else None
        endpoint = f"127.0.0.1:{self.port}"
        self.first = {"recv": self.stats("recv")}
        self.sender = self.start("send", "--connect", self.relay.to(endpoint) if relay else endpoint, "--source", source,
                                 *send)

    def start(self, side, *words):
        files = ["--stats", self.folder / f"{side}.json", "--events", self.folder / f"{side}.events"]
        return subprocess.Popen([self.binary, side, *words, *files], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

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
