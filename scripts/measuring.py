"""What scripts/measure and scripts/measure-live share: processes, warm memory, the build, the machine, tables."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GIB = 1 << 30
MIB = 1 << 20
RUN_TIMEOUT_S = 300


def fail(text):
    raise SystemExit(f"{Path(sys.argv[0]).name}: {text}")


# ---------------------------------------------------------------- processes

@dataclass
class Finished:
    """A process that ended: its CPU time, and the peaks seen in /proc/PID/status while it ran."""
    code: int  # negative: the signal that ended it
    cpu_s: float
    wall_s: float
    peak_kib: dict


class Watched:
    """A process to wait for; with `sample`, its memory is looked at until it ends, which costs it some speed."""

    FIELDS = ("VmHWM", "RssAnon", "RssShmem", "RssFile", "VmPTE")
    SAMPLE_S = 0.002

    def __init__(self, arguments, sample=False, timeout_s=RUN_TIMEOUT_S):
        self.arguments = [str(argument) for argument in arguments]
        self.timeout_s = timeout_s
        self.log = tempfile.TemporaryFile()
        self.start = time.monotonic()
        self.process = subprocess.Popen(self.arguments, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.peak_kib = dict.fromkeys(self.FIELDS, 0)
        self.stop_sampling = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        if sample:
            self.sampler.start()

    def _sample(self):
        pattern = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
        while not self.stop_sampling.wait(self.SAMPLE_S):
            try:
                text = Path(f"/proc/{self.process.pid}/status").read_text()
            except OSError:
                return
            for name, value in pattern.findall(text):
                if name in self.peak_kib:
                    self.peak_kib[name] = max(self.peak_kib[name], int(value))

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def finish(self):
        """Waits for the end, whatever it is; kills what takes longer than the timeout."""
        deadline = threading.Timer(self.timeout_s, self.process.kill)
        deadline.start()
        try:
            _, status, usage = os.wait4(self.process.pid, 0)
        finally:
            deadline.cancel()
        wall_s = time.monotonic() - self.start
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.stop_sampling.set()
        if self.sampler.is_alive():
            self.sampler.join()
        return Finished(self.process.returncode, usage.ru_utime + usage.ru_stime, wall_s, self.peak_kib)

    def wait(self):
        """Waits for the end; a failure ends the measurement with what the process said."""
        finished = self.finish()
        if finished.code != 0:
            fail(f"{' '.join(self.arguments)}\nended with {finished.code}:\n{self.output()}")
        return finished

    def end(self):
        """For a process that nobody waits for any more."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def run_json(arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True,
                          timeout=RUN_TIMEOUT_S)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def wait_for_file(path, process):
    """Until the file has content; the receiver writes its port there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().strip():
            return path.read_text().strip()
        if process.process.poll() is not None:
            break
        time.sleep(0.01)
    fail(f"the receiver did not start to listen:\n{process.output()}")


# ---------------------------------------------------------------- the build

@dataclass
class Build:
    """A build folder's binaries."""
    folder: Path

    @property
    def migrate(self):
        return self.folder / "cli" / "migrate"

    @property
    def bare_loops(self):
        return self.folder / "tests" / "perf" / "bare_loops"

    def warm(self, gib):
        """Takes so much memory from the host and gives it back, so that the next to take it need not wait."""
        run = subprocess.run([str(self.bare_loops), "warm", f"gib={gib}"], capture_output=True, text=True,
                             timeout=RUN_TIMEOUT_S)
        if run.returncode != 0:
            fail(f"warming {gib} GiB failed: {run.stderr}")

    def start_receiver(self, folder, sink, *options, **watching):
        """`migrate recv` with its files in `folder`, once it listens: the process and its port."""
        receiver = Watched([self.migrate, "recv", "--listen", "127.0.0.1:0", "--port-file", folder / "port",
                            "--sink", sink, "--stats", folder / "recv.json", *options], **watching)
        try:
            return receiver, wait_for_file(folder / "port", receiver)
        except BaseException:
            receiver.end()
            raise

    def start_sender(self, folder, port, source, *options, **watching):
        return Watched([self.migrate, "send", "--connect", f"127.0.0.1:{port}", "--source", source,
                        "--stats", folder / "send.json", *options], **watching)


def add_build_arguments(parser, parts):
    parser.add_argument("--only", action="append", choices=parts, metavar="NAME",
                        help="only this measurement; may be given several times")
    parser.add_argument("--quick", action="store_true", help="smaller guests, fewer runs: to see that it works")
    parser.add_argument("--build", type=Path, help="a build folder that has migrate and bare_loops; none is built")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"), help="a tmpfs folder (default /dev/shm)")


def make_build(given):
    """The build folder given, or a release build with the plain loops beside it."""
    if not given:
        subprocess.run([str(ROOT / "scripts/install-dependencies"), "build", "measure"], check=True)
        compile_release(ROOT / "build/measure")
    build = Build((given or ROOT / "build/measure").resolve())
    for binary in (build.migrate, build.bare_loops):
        if not binary.exists():
            fail(f"there is no {binary}; without --build it is built")
    return build


def compile_release(folder):
    for command in (["cmake", "--preset", "release", "-B", str(folder), "-DBUILD_TESTING=ON"],
                    ["cmake", "--build", str(folder), "--target", "migrate", "bare_loops"]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            fail(f"{' '.join(command)} failed:\n{done.stdout}")


# ---------------------------------------------------------------- what is printed

def describe_machine():
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} CPUs ({model.group(1) if model else 'unknown'}), {int(total.group(1)) / MIB:.0f} GiB, "
          f"Linux {os.uname().release}, load {load:.1f}", flush=True)
    if load > 0.5:
        print(f"{Path(sys.argv[0]).name}: the machine is busy; figures will scatter", file=sys.stderr)


def available_mib():
    """Memory that processes may still take."""
    return int(re.search(r"^MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE).group(1)) // 1024


def show_progress(text):
    if sys.stderr.isatty():
        print(f"\r{'  ' + text:60}\r", end="", file=sys.stderr, flush=True)


def spread(values, unit):
    """The median, and the lowest and highest where there are several."""
    text = f"{statistics.median(values):.3g} {unit}".rstrip()
    if len(values) > 1:
        text += f" ({min(values):.3g} … {max(values):.3g})"
    return text


def print_table(header, rows):
    """In Markdown."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print()
    for row in [header, tuple("-" * width for width in widths), *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |", flush=True)
