#!/usr/bin/env python3
"""Usage: make_initramfs.py SOURCE.c OUTPUT

Compiles SOURCE.c statically and makes it the /init of an initramfs: a cpio archive in the "newc" format, which the
kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def entry(number, name, mode, content=b""):
    fields = (number, mode, 0, 0, 2 if mode & 0o040000 else 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = "070701" + "".join(f"{field:08X}" for field in fields)
    head = header.encode() + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def archive(init):
    return (entry(1, "dev", 0o040755) + entry(2, "init", 0o100755, init) + entry(3, "TRAILER!!!", 0))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, output = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "init"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-static", "-s", "-Wall", "-Wextra", "-o", program, source], check=True)
        Path(output).write_bytes(archive(program.read_bytes()))


if __name__ == "__main__":
    main()
