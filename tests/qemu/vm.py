# SPDX-License-Identifier: Apache-2.0
"""QEMUs with a guest that is judged by its serial console, and migrations between them; for the tests here and for
scripts/measure-qemu."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from credentials import with_credentials
from environment import (HANDED_OVER_STATE, MOVES_BLOCKS, QEMU, build_initramfs, find_kernel,  # noqa: F401
                         has_kvm, image_in, require_guest, version_of)
from monitor import Qmp
from waiting import WAIT_S, Reader, Trouble, appears_in, ends_within, eventually, poll_until, read_text  # noqa: F401

TICK_MS = 5
BOOT_S = 120
START_S = 60
# On a busy host a switchover takes as long as it takes: a digest of all memory alone has taken a second.
ANY_PAUSE = ("--downtime-limit", "20s")

# A test that is killed leaves no process behind. Not by a function in the child: a fork of a process with threads may
# find a lock taken that nobody will release, and hang.
END_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


class Qemu:
    """A QEMU with the test guest in it, or waiting for one; its console's lines with the time at which each came."""

    count = 0
    started = []  # all that this process started

    def __init__(self, image, incoming=False, memory_mib=256, backend="file", rewrite_mib=96, rate=8, extra=(), smp=1,
                 append="", machine="q35", slots=0, memory_path=None, kernel=None):
        Qemu.count += 1
        self.name = f"{os.getpid()}-{Qemu.count}"
        # `memory_path`: another file than its own, which it leaves behind.
        self.memory = Path(memory_path or f"/dev/shm/migrate-test-{self.name}.mem")
        self.qmp_path = Path(tempfile.gettempdir()) / f"migrate-test-{self.name}.qmp"
        self.operator_path = self.qmp_path.with_suffix(".operator")  # a second client's
        self.control_path = self.qmp_path.with_suffix(".control")
        self.lines = []  # (time, text)
        self.rest = ""  # of the console, after the last whole line
        self.console_ended = False
        self.words = ""
        self.changed = threading.Condition()
        self.control = None
        objects = {
            "file": ["-object", f"memory-backend-file,id=m,size={memory_mib}M,mem-path={self.memory},share=on"],
            "memfd": ["-object", f"memory-backend-memfd,id=m,size={memory_mib}M,share=on"],
            "folder": ["-object", f"memory-backend-file,id=m,size={memory_mib}M,mem-path=/dev/shm,share=on"],
            "plain": [],
            "hugetlb": ["-object", f"memory-backend-memfd,id=m,size={memory_mib}M,share=on,hugetlb=on"],
            "hugetlb private": ["-object", f"memory-backend-memfd,id=m,size={memory_mib}M,share=off,hugetlb=on"],
            "mixed": ["-object", f"memory-backend-ram,id=m0,size={memory_mib // 2}M", "-numa", "node,memdev=m0",
                      "-object", f"memory-backend-file,id=m1,size={memory_mib // 2}M,mem-path={self.memory}1,share=on",
                      "-numa", "node,memdev=m1"],
            "private": ["-object", f"memory-backend-ram,id=m,size={memory_mib}M"],
            "numa": [word for node in range(2) for word in (
                "-object", f"memory-backend-file,id=m{node},size={memory_mib // 2}M,mem-path={self.memory}{node},"
                "share=on", "-numa", f"node,memdev=m{node}")],
        }[backend]
        machine += "" if backend in ("plain", "numa", "mixed") else ",memory-backend=m"
        self.arguments = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", machine, "-m",
            f"{memory_mib}M" + (f",slots={slots},maxmem=4G" if slots else ""), *objects, "-smp", str(smp),
            *(["-accel", "kvm", "-cpu", "host"] if has_kvm() else ["-accel", "tcg"]),
            "-kernel", kernel or find_kernel(), "-initrd", str(image),
            "-append", f"console=ttyS0 quiet no_timer_check MG_SIZE={rewrite_mib} MG_RATE={rate} MG_TICK={TICK_MS} {append}",
            "-serial", "stdio", "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
            "-qmp", f"unix:{self.operator_path},server=on,wait=off",
            *(["-incoming", "defer" if incoming is True else incoming] if incoming else []), *extra,
            # QEMU connects to this one when it listens at the others.
            "-qmp", f"unix:{self.control_path},server=off"]
        self.process = None
        try:
            self._start()
        except OSError as error:
            self.kill()
            raise Trouble(f"QEMU did not start: {error}\n{self.words}") from error

    def _start(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.control_path))
            listener.listen()
            self.process = subprocess.Popen([*END_WITH_PARENT, *self.arguments], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
            Qemu.started.append(self)
            self.readers = [Reader(self.process.stdout, self._take_console),
                            Reader(self.process.stderr, self._take_words)]
            ended = os.pidfd_open(self.process.pid)
            try:
                readable = poll_until([listener.fileno(), ended], time.monotonic() + START_S)
            finally:
                os.close(ended)
            if listener.fileno() not in readable:
                raise OSError("it ended" if readable else f"nothing within {START_S} s")
            self.control = Qmp(connected=listener.accept()[0])

    def _take_console(self, text):
        now = time.monotonic()
        *whole, self.rest = (self.rest + text).split("\n")
        with self.changed:
            self.lines += [(now, line.strip()) for line in whole]
            self.console_ended = not text
            self.changed.notify_all()

    def _take_words(self, text):
        self.words += text

    @property
    def pid(self):
        return self.process.pid

    def qmp(self):
        """QMP by the socket that `migrate` uses, which serves one client at a time."""
        return Qmp(self.qmp_path)

    def operator(self):
        """QMP by another socket than the one that `migrate` uses."""
        return Qmp(self.operator_path)

    def state(self):
        return self.control.ask("query-status")["status"]

    def state_if_alive(self):
        """None: QEMU has ended, or ends now."""
        try:
            return self.state()
        except Trouble:
            if not ends_within(self.process, 10):
                raise
            return None

    def settings(self):
        """The capabilities of its migrations that are on, and max-bandwidth in bytes per second."""
        on = {entry["capability"] for entry in self.control.ask("query-migrate-capabilities") if entry["state"]}
        return on, self.control.ask("query-migrate-parameters")["max-bandwidth"]

    def await_settings(self, wanted, timeout_s=15):
        eventually(lambda: self.settings() == wanted, timeout_s,
                   lambda: f"QEMU's settings are {self.settings()}; expected {wanted}")

    def await_state(self, wanted, timeout_s=WAIT_S):
        eventually(lambda: self.state() == wanted, timeout_s,
                   lambda: f"QEMU's state is '{self.state()}'; expected '{wanted}'")

    def await_line(self, wanted, timeout_s=WAIT_S, after=0):
        """The first line from number `after` on for which wanted(line) holds."""
        until = time.monotonic() + timeout_s
        with self.changed:
            while True:
                for entry in self.lines[after:]:
                    if wanted(entry[1]):
                        return entry
                left = until - time.monotonic()
                if left <= 0 or self.console_ended:
                    raise Trouble(f"the guest did not print it; its last lines: {self.lines[-3:]}\n{self.words}")
                self.changed.wait(left)

    def await_boot(self):
        self.await_line(lambda line: line.startswith("tick "), BOOT_S)

    def ticks(self):
        """(time, number, pages, bad) of every whole line."""
        with self.changed:
            lines = list(self.lines)
        found = []
        for when, text in lines:
            match = re.fullmatch(r"tick (\d+) pages (\d+) bad (\d+)", text)
            if match:
                found.append((when, *map(int, match.groups())))
        return found

    def await_more(self, ticks=20, timeout_s=WAIT_S):
        """Waits for the guest to go on for so many ticks; the last of them."""
        start = self.ticks()[-1][1] if self.ticks() else 0
        seen = len(self.lines)
        deadline = time.monotonic() + timeout_s
        while True:
            self.await_line(lambda line: line.startswith("tick "), deadline - time.monotonic(), seen)
            now = self.ticks()
            if now and now[-1][1] >= start + ticks:
                return now[-1]
            seen = len(self.lines)

    def is_silent(self, time_s=0.3):
        """Returns True if the guest prints nothing for `time_s`; a running guest prints a line every 5 ms."""
        with self.changed:
            before = len(self.lines)
            return not self.changed.wait_for(lambda: len(self.lines) != before, time_s)

    def kill(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.kill()
            self.process.wait()
            for reader in self.readers:
                reader.ends_within(5)
                reader.close()
        if self.control is not None:
            self.control.close()
        for path in [self.qmp_path, self.operator_path, self.control_path,
                     *Path("/dev/shm").glob(f"migrate-test-{self.name}.mem*")]:
            path.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class BootedGuests:
    """Guests that booted once and were saved to files, one for each shape of QEMU: to load one takes a tenth of a boot.
    Several test processes share the folder."""

    SHAPE = ("memory_mib", "rewrite_mib", "rate", "smp", "append", "machine", "slots")

    def __init__(self, image, folder):
        self.image, self.folder = image, Path(folder)

    def start(self, **options):
        """A QEMU whose guest runs."""
        qemu = Qemu(self.image, incoming=f"exec:cat {self._saved(options)}", **options)
        try:
            qemu.await_state("paused")
            qemu.control.ask("cont")
            qemu.await_boot()
        except BaseException:
            qemu.kill()
            raise
        return qemu

    def _saved(self, options):
        extra = options.get("extra", ())
        devices = [words[1] for words in zip(extra, extra[1:]) if words[0] == "-device"]
        shape = [(name, options[name]) for name in self.SHAPE if name in options]
        # The names of QEMU's memory: m0 and m1, or pc.ram, or m.
        memory = {"numa": "numa", "mixed": "numa", "plain": "plain"}.get(options.get("backend"), "")
        name = re.sub(r"[^\w.,=-]+", "_", json.dumps([shape, memory, devices]))
        path = self.folder / f"{name}.guest"
        with open(self.folder / f"{name}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                self._save({key: value for key, value in options.items() if key != "memory_path"}, path)
        return path

    def _save(self, options, path):
        """The guest is paused first: the emulator loses writes of a guest that QEMU itself migrates while it runs."""
        with Qemu(self.image, **options) as qemu:
            qemu.await_boot()
            qemu.await_more(1)
            qemu.control.ask("stop")
            qemu.control.ask("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
            qemu.control.ask("migrate-set-parameters", max_bandwidth=1 << 40)
            temporary = path.with_suffix(".part")
            qemu.control.ask("migrate", uri=f"exec:cat > {temporary}")
            eventually(lambda: self._has_completed(qemu))
            temporary.rename(path)

    @staticmethod
    def _has_completed(qemu):
        status = qemu.control.ask("query-migrate").get("status")
        if status == "failed":
            raise Trouble("QEMU did not save the guest")
        return status == "completed"


class Side:
    """A `migrate` process, its output collected."""

    started = []  # all that this process started and did not end()

    def __init__(self, binary, *arguments):
        self.words = ""
        self.changed = threading.Condition()
        self.output_ended = False
        self.process = subprocess.Popen([*END_WITH_PARENT, str(binary), *with_credentials(arguments)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        self.reader = Reader(self.process.stdout, self._take)
        Side.started.append(self)

    def _take(self, text):
        with self.changed:
            self.words += text
            self.output_ended = not text
            self.changed.notify_all()

    def await_words(self, words, timeout_s=WAIT_S):
        with self.changed:
            self.changed.wait_for(lambda: words in self.words or self.output_ended, timeout_s)
            if words not in self.words:
                raise Trouble(f"'{words}' was not printed:\n{self.words}")

    def endpoint(self):
        """Where a receiver listens, once it does."""
        self.await_words("listening on ")
        return re.search(r"listening on (\S+)", self.words).group(1)

    def wait(self, timeout_s=WAIT_S):
        """The exit code, once the process and its guardian have ended, who holds its output open."""
        if not ends_within(self.process, timeout_s):
            self.process.kill()
            raise Trouble(f"it does not end:\n{self.words}")
        self.reader.ends_within(15)
        return self.process.wait()

    def children(self):
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in listed.read_text().split()]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.ends_within(15)
        if self in Side.started:
            Side.started.remove(self)
        self.reader.close()


class Migration:
    """Both sides of a migration from one QEMU to another; a text in the place of a QEMU is a source or a sink."""

    def __init__(self, binary, source, destination, folder, *options, channels=8, route=None, source_at=None,
                 destination_at=None):
        # `route` gives another endpoint for the receiver's; `source_at`, `destination_at`: "SOCKET,pid=PID".
        self.reports = [Path(folder) / f"{side}.json" for side in ("send", "recv")]
        self.events = Path(folder) / "events"  # the sender's
        for path in (*self.reports, self.events):
            path.unlink(missing_ok=True)
        self.receiver = Side(binary, "recv", "--listen", "127.0.0.1:0", "--sink", self._uri(destination, destination_at),
                             "--stats", self.reports[1], "--listen-timeout", "60s", "--io-timeout", "5s")
        self.sender = None
        # A side whose peer is killed would wait for it; a case about that gives the option itself.
        repair = () if "--reconnect-timeout" in options else ("--reconnect-timeout", "0")
        try:
            endpoint = self.receiver.endpoint()
            self.sender = Side(binary, "send", "--source", self._uri(source, source_at), "--connect",
                               route(endpoint) if route else endpoint, "--multifd-channels", channels, "--stats",
                               self.reports[0], "--events", self.events, "--io-timeout", "5s", *repair,
                               *options)
        except Trouble:
            self.end()
            raise

    @staticmethod
    def _uri(side, at):
        return side if isinstance(side, str) else f"qemu:{at or side.qmp_path}"

    def has_event(self, wanted, timeout_s=WAIT_S):
        """Waits for an event of the sender; false if the sender ends without it, or at the timeout."""
        return appears_in(self.events, wanted, self.sender.process, timeout_s)

    def await_event(self, wanted):
        if not self.has_event(wanted):
            raise Trouble(f"no event {wanted}:\n{self.words()[-2000:]}")

    def wait(self):
        """The exit codes."""
        return self.sender.wait(), self.receiver.wait()

    def words(self):
        return f"sender:\n{self.sender.words}receiver:\n{self.receiver.words}"

    def sent(self):
        return json.loads(self.reports[0].read_text())

    def end(self):
        for side in (self.sender, self.receiver):
            if side is not None:
                side.end()


def time_of(event):
    """When QEMU sent it, by the clock."""
    return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6


def gap_between(source, destination):
    """Seconds from the guest's last line at the source to its first at the destination."""
    return destination.ticks()[0][0] - source.ticks()[-1][0]


def check_went_on(source, destination):
    """The guest's count goes on where it stopped, and every page that it checked was right."""
    last, first = source.ticks()[-1], destination.ticks()[0]
    # A line that was cut in two by the move is whole in neither.
    if not last[1] < first[1] <= last[1] + 3:
        raise Trouble(f"the guest counted {last[1]} at the source and {first[1]} at the destination")
    if destination.ticks()[-1][3] != 0:
        raise Trouble(f"the guest found {destination.ticks()[-1][3]} pages that hold something else than it wrote")
