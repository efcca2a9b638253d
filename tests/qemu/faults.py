# SPDX-License-Identifier: Apache-2.0
"""Faults between two QEMUs: a network that is cut, and a QMP that refuses commands or hangs up."""

import json
import socket
import tempfile
import threading
import time
from pathlib import Path


class CuttableRoute:
    """Forwards TCP connections until cut() closes all of them, but for those that interrupt() ends."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets = []
        self.lock = threading.Lock()
        self.target = None
        self.is_cut = False

    def to(self, endpoint):
        host, port = endpoint.rsplit(":", 1)
        self.target = (host, int(port))
        threading.Thread(target=self._accept, daemon=True).start()
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self):
        while True:
            try:
                ours, _ = self.listener.accept()
                theirs = socket.create_connection(self.target)
            except OSError:
                return
            with self.lock:
                self.sockets += [ours, theirs]
                if self.is_cut:
                    return self.cut()
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._forward, args=pair, daemon=True).start()

    @staticmethod
    def _forward(source, target):
        try:
            while data := source.recv(1 << 18):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def count(self):
        return len(self.sockets) // 2

    def interrupt(self, first=0, end=None):
        """Ends the connections [first, end) in the order in which they were made; later ones go through."""
        with self.lock:
            self._end(self.sockets[2 * first:None if end is None else 2 * end])

    def cut_data(self):
        """All but the first connection, the main channel."""
        self.interrupt(first=1)

    def cut(self):
        self.is_cut = True
        self.listener.close()
        self._end(list(self.sockets))

    @staticmethod
    def _end(sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class FaultyQmp:
    """Stands between `migrate` and a QEMU's QMP socket, descriptors included. The first command named `command` is
    answered with an error; or not at all, and the connection closed (`hang_up`), after which new ones are, too, for
    `deaf_s` seconds. With `answer` all of them are answered with that. `strikes`: commands and what to call when the
    first of each comes, which goes no further if that returns true."""

    count = 0

    def __init__(self, qemu, command="", hang_up=False, answer=None, deaf_s=0, strikes=None):
        FaultyQmp.count += 1
        self.path = Path(tempfile.gettempdir()) / f"migrate-fault-{qemu.name}-{FaultyQmp.count}.qmp"
        self.at = f"{self.path},pid={qemu.pid}"
        self.qemu_path, self.command, self.hang_up, self.struck = qemu.qmp_path, command, hang_up, False
        self.answer, self.deaf_s, self.strikes, self.deaf_until = answer, deaf_s, dict(strikes or {}), 0
        self.came = []  # the names of the commands
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if time.monotonic() < self.deaf_until:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self.qemu_path))
        except OSError:
            client.close()
            return
        threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
        try:
            self._forward_commands(client, server)
        except OSError:
            pass
        finally:
            # Closing alone would not reach a thread that is reading.
            for one in (client, server):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()

    def _forward_commands(self, client, server):
        rest, descriptors = b"", []
        while True:
            data, received, _, _ = socket.recv_fds(client, 65536, 4)
            if not data:
                return
            rest += data
            descriptors += received
            while b"\n" in rest:
                line, rest = rest.split(b"\n", 1)
                if not self._strike(client, server, json.loads(line)):
                    socket.send_fds(server, [line + b"\n"], descriptors)
                for descriptor in descriptors:
                    socket.close(descriptor)
                descriptors = []

    @staticmethod
    def _name(request):
        """The command. A descriptor that only proves which process QEMU is does not count as "getfd": its state's does."""
        name = request["execute"]
        if name == "getfd" and request.get("arguments", {}).get("fdname") != "migrate-state":
            return "getfd of a proof"
        return name

    def _strike(self, client, server, request):
        name = self._name(request)
        self.came.append(name)
        if self.strikes.pop(name, lambda: False)():
            return True
        if name != self.command or (self.struck and self.answer is None):
            return False
        self.struck = True
        if self.hang_up:
            self.deaf_until = time.monotonic() + self.deaf_s
            for one in (client, server):
                one.shutdown(socket.SHUT_RDWR)
            raise OSError("hung up")
        error = {"error": {"class": "GenericError", "desc": "a fault of the test"}}
        answer = error if self.answer is None else {"return": self.answer}
        client.sendall(json.dumps({**answer, "id": request.get("id")}).encode() + b"\r\n")
        return True

    @staticmethod
    def _answers(server, client):
        try:
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        self.path.unlink(missing_ok=True)
