# SPDX-License-Identifier: Apache-2.0
"""Reports what a hanging case waits for: the place of each Python thread, the states of its QEMUs, and what each
thread of every `migrate` waits for in the kernel."""

import faulthandler
import os
import threading
from pathlib import Path

import vm
from monitor import Qmp

ANSWER_S = 3


def arm(timeout_s, output):
    """Unless the process ends before, writes the report to the descriptor after that time, and ends the process. The
    Python threads come first, as faulthandler needs nothing that could be part of the trouble."""
    faulthandler.enable(output)
    faulthandler.dump_traceback_later(timeout_s, file=output)

    def report():
        try:
            for line in describe():
                os.write(output, f"{line}\n".encode())
        finally:
            os._exit(1)
    timer = threading.Timer(timeout_s + 1, report)
    timer.daemon = True
    timer.start()


def describe():
    for qemu in vm.Qemu.started:
        yield from describe_qemu(qemu)
    for side in vm.Side.started:
        for pid in holders_of(side.process.stdout):
            yield from describe_process(pid)
        yield f"its output:\n{side.words[-4000:]}"


def describe_qemu(qemu):
    yield f"QEMU {qemu.name}, process {qemu.pid}, exit code {qemu.process.poll()}; its last lines: {qemu.lines[-2:]}"
    if qemu.process.poll() is not None:
        return
    try:
        # Not by its control socket, whose lock a thread may hold.
        with Qmp(qemu.operator_path, timeout_s=ANSWER_S) as qmp:
            for query in ("query-status", "query-migrate"):
                yield f"    {query}: {qmp.ask(query)}"
    except (OSError, vm.Trouble) as trouble:
        yield f"    it does not answer: {trouble}"


def holders_of(stream):
    """The processes that hold the pipe's other end open: a `migrate`, its children and its guardian."""
    pipe = os.readlink(f"/proc/self/fd/{stream.fileno()}")
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name != str(os.getpid()) and pipe in links_in(folder / "fd"):
            yield int(folder.name)


def links_in(folder):
    found = set()
    try:
        for path in folder.iterdir():
            found.add(os.readlink(path))
    except OSError:
        pass  # it has ended
    return found


def describe_process(pid):
    folder = Path(f"/proc/{pid}")
    words = vm.read_text(folder / "cmdline").replace("\0", " ")
    yield f"process {pid}: {words}"
    for task in sorted(folder.glob("task/*")):
        state = vm.read_text(task / "stat").rpartition(")")[2].split()[:1]
        comm, wchan, call = (vm.read_text(task / name).strip() for name in ("comm", "wchan", "syscall"))
        yield f"    thread {task.name} ({comm}): state {''.join(state)}, waits in {wchan}, system call {call}"
