"""QEMUs with a guest that can be judged by its serial console, and migrations between them; for the tests here and for
scripts/measure-qemu."""

import ctypes
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SKIPPED = 77
INSTALLED = "qemu-system-x86_64"
# What scripts/fetch-test-systems unpacked.
SYSTEMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "migrate/test-systems"
TICK_MS = 5
BOOT_S = 120
WAIT_S = 60


class Trouble(Exception):
    """Something did not come about."""


def end_with_parent():
    """In the child: a test that is killed leaves no QEMU behind (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def find_kernel():
    """A kernel that unpacks an initramfs and has a serial console, which Debian's have; None if there is none."""
    given = os.environ.get("MIGRATE_TEST_KERNEL")
    installed = sorted(glob.glob("/boot/vmlinuz-*"), key=lambda path: "cloud" not in path)
    candidates = [given] if given else [*sorted(map(str, SYSTEMS.glob("kernel/boot/vmlinuz-*"))), *installed]
    return next((path for path in candidates if os.access(path, os.R_OK)), None)


def is_version(qemu, version):
    """Whether it runs and is of that version: "7.2", "10"."""
    if shutil.which(qemu) is None:
        return False
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout
    return said.startswith(f"QEMU emulator version {version}.")


def find_qemu():
    """MIGRATE_TEST_QEMU, or the installed one. With MIGRATE_TEST_QEMU_VERSION, one of that version, which may also be
    an unpacked one; None if there is none."""
    version = os.environ.get("MIGRATE_TEST_QEMU_VERSION")
    given = os.environ.get("MIGRATE_TEST_QEMU")
    candidates = [given] if given else [INSTALLED, *([str(SYSTEMS / f"qemu-{version}" / INSTALLED)] if version else [])]
    return next((qemu for qemu in candidates if (is_version(qemu, version) if version else shutil.which(qemu))), None)


QEMU = find_qemu()


def require_guest():
    """Skips where a guest cannot be booted."""
    if QEMU is None:
        version = os.environ.get("MIGRATE_TEST_QEMU_VERSION")
        skip(f"there is no QEMU {version}; scripts/fetch-test-systems qemu-{version} fetches it" if version else
             "there is no qemu-system-x86_64 (package qemu-system-x86)")
    if find_kernel() is None:
        skip("there is no kernel for the guest; scripts/fetch-test-systems kernel fetches it")
    if os.uname().machine != "x86_64":
        skip("the guest is built for x86-64")
    if not os.access("/dev/shm", os.W_OK):
        skip("/dev/shm cannot be written")


def has_kvm():
    return os.environ.get("MIGRATE_TEST_KVM", "") == "1" and os.access("/dev/kvm", os.R_OK | os.W_OK)


def build_initramfs(folder):
    image = Path(folder) / "guest.img"
    subprocess.run([sys.executable, "-B", FOLDER / "make_initramfs.py", FOLDER / "guest_init.c", image], check=True)
    return image


class Qmp:
    """A QMP client of our own, so that what `migrate` did is seen by other eyes."""

    def __init__(self, path, timeout_s=WAIT_S):
        until = time.monotonic() + timeout_s
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout_s)
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        self.stream = self.socket.makefile("rw")
        self.events = []
        if not self.stream.readline():
            raise OSError("QEMU closed its QMP socket")
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            if not line:
                raise Trouble(f"{command}: QEMU closed its QMP socket")
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Trouble(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Qemu:
    """A QEMU with the test guest in it, or waiting for one; its console's lines with the time at which each came."""

    count = 0

    def __init__(self, image, incoming=False, memory_mib=256, backend="file", rewrite_mib=96, rate=8, extra=(), smp=1,
                 append="", machine="q35", slots=0, memory_path=None):
        Qemu.count += 1
        self.name = f"{os.getpid()}-{Qemu.count}"
        # `memory_path`: another file than its own, which it leaves behind.
        self.memory = Path(memory_path or f"/dev/shm/migrate-test-{self.name}.mem")
        self.qmp_path = Path(tempfile.gettempdir()) / f"migrate-test-{self.name}.qmp"
        self.operator_path = self.qmp_path.with_suffix(".operator")  # a second client's
        self.lines = []  # (time, text)
        self.words = ""
        objects = {
            "file": ["-object", f"memory-backend-file,id=m,size={memory_mib}M,mem-path={self.memory},share=on"],
            "memfd": ["-object", f"memory-backend-memfd,id=m,size={memory_mib}M,share=on"],
            "folder": ["-object", f"memory-backend-file,id=m,size={memory_mib}M,mem-path=/dev/shm,share=on"],
            "private": ["-object", f"memory-backend-ram,id=m,size={memory_mib}M"],
            "numa": [word for node in range(2) for word in (
                "-object", f"memory-backend-file,id=m{node},size={memory_mib // 2}M,mem-path={self.memory}{node},"
                "share=on", "-numa", f"node,memdev=m{node}")],
        }[backend]
        machine += "" if backend == "numa" else ",memory-backend=m"
        self.arguments = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", machine, "-m",
            f"{memory_mib}M" + (f",slots={slots},maxmem=4G" if slots else ""), *objects, "-smp", str(smp),
            *(["-accel", "kvm", "-cpu", "host"] if has_kvm() else ["-accel", "tcg"]),
            "-kernel", find_kernel(), "-initrd", str(image),
            "-append", f"console=ttyS0 quiet MG_SIZE={rewrite_mib} MG_RATE={rate} MG_TICK={TICK_MS} {append}",
            "-serial", "stdio", "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
            "-qmp", f"unix:{self.operator_path},server=on,wait=off",
            *(["-incoming", "defer"] if incoming else []), *extra]
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, start_new_session=True, preexec_fn=end_with_parent)
        self.changed = threading.Condition()
        self.readers = [threading.Thread(target=self._read_console, daemon=True),
                        threading.Thread(target=self._read_words, daemon=True)]
        for reader in self.readers:
            reader.start()
        try:
            self.qmp().close()
        except OSError as error:
            self.kill()
            raise Trouble(f"QEMU did not start: {self.words}") from error

    def _read_console(self):
        rest = b""
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            now = time.monotonic()
            if not data:
                break
            *whole, rest = (rest + data).split(b"\n")
            with self.changed:
                self.lines += [(now, line.decode(errors="replace").strip()) for line in whole]
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _read_words(self):
        for line in self.process.stderr:
            self.words += line.decode(errors="replace")

    @property
    def pid(self):
        return self.process.pid

    def qmp(self):
        return Qmp(self.qmp_path)

    def operator(self):
        """QMP by another socket than the one that `migrate` uses."""
        return Qmp(self.operator_path)

    def state(self):
        with self.qmp() as qmp:
            return qmp.ask("query-status")["status"]

    def settings(self):
        """Of its migrations."""
        with self.qmp() as qmp:
            on = {entry["capability"] for entry in qmp.ask("query-migrate-capabilities") if entry["state"]}
            return on, qmp.ask("query-migrate-parameters")["max-bandwidth"]

    def await_settings(self, wanted, timeout_s=15):
        until = time.monotonic() + timeout_s
        while (now := self.settings()) != wanted:
            if time.monotonic() > until:
                raise Trouble(f"QEMU's settings are {now}; they were {wanted}")
            time.sleep(0.05)

    def await_state(self, wanted, timeout_s=WAIT_S):
        until = time.monotonic() + timeout_s
        while (now := self.state()) != wanted:
            if time.monotonic() > until:
                raise Trouble(f"QEMU is '{now}', and not '{wanted}'")
            time.sleep(0.05)

    def await_line(self, wanted, timeout_s=WAIT_S, after=0):
        """The first line from number `after` on for which wanted(line) holds."""
        until = time.monotonic() + timeout_s
        with self.changed:
            while True:
                for entry in self.lines[after:]:
                    if wanted(entry[1]):
                        return entry
                left = until - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self.readers[0].is_alive()):
                    raise Trouble(f"the guest did not say it; its last words: {self.lines[-3:]}\n{self.words}")
                self.changed.wait(min(left, 0.5))

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
        before = len(self.lines)
        time.sleep(time_s)
        return len(self.lines) == before

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
        for path in [self.qmp_path, self.operator_path, *Path("/dev/shm").glob(f"migrate-test-{self.name}.mem*")]:
            path.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Side:
    """A `migrate` process, its words collected."""

    def __init__(self, binary, *arguments):
        self.process = subprocess.Popen([str(binary), *map(str, arguments)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.words = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.words += line.decode(errors="replace")

    def await_words(self, words, timeout_s=WAIT_S):
        until = time.monotonic() + timeout_s
        while words not in self.words:
            if time.monotonic() > until or (self.process.poll() is not None and not self.reader.is_alive()):
                raise Trouble(f"'{words}' was not said:\n{self.words}")
            time.sleep(0.01)

    def wait(self, timeout_s=WAIT_S):
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Trouble(f"it does not end:\n{self.words}") from None
        self.reader.join(15)
        return code

    def children(self):
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in listed.read_text().split()]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(15)
        self.process.stdout.close()


class Migration:
    """Both sides of a migration from one QEMU to another."""

    def __init__(self, binary, source, destination, folder, *options, channels=8, route=None, source_at=None,
                 destination_at=None):
        # `route` makes another endpoint of the receiver's; `source_at`, `destination_at`: "SOCKET,pid=PID".
        self.reports = [Path(folder) / f"{side}.json" for side in ("send", "recv")]
        for report in self.reports:
            report.unlink(missing_ok=True)
        self.receiver = Side(binary, "recv", "--listen", "127.0.0.1:0", "--sink",
                             f"qemu:{destination_at or destination.qmp_path}",
                             "--stats", self.reports[1], "--listen-timeout", "60s", "--io-timeout", "5s")
        self.sender = None
        try:
            self.receiver.await_words("listening on ")
            endpoint = re.search(r"listening on (\S+)", self.receiver.words).group(1)
            self.endpoint = endpoint
            self.sender = Side(binary, "send", "--source", f"qemu:{source_at or source.qmp_path}", "--connect",
                               route(endpoint) if route else endpoint, "--multifd-channels", channels, "--stats",
                               self.reports[0], "--io-timeout", "5s", *options)
        except Trouble:
            self.end()
            raise

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
