#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: make_initramfs.py SOURCE.c OUTPUT [MODULE…]

Compiles SOURCE.c statically and makes it the /init of an initramfs: a cpio archive in the "newc" format, which the
kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst). The modules become /modules/0, /modules/1 …
"""

import lzma
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


def archive(init, modules):
    entries = [("dev", 0o040755, b""), ("modules", 0o040755, b""), ("init", 0o100755, init),
               *((f"modules/{number}", 0o100644, content) for number, content in enumerate(modules)),
               ("TRAILER!!!", 0, b"")]
    return b"".join(entry(number, *what) for number, what in enumerate(entries, 1))


def module(path):
    content = Path(path).read_bytes()
    return lzma.decompress(content) if str(path).endswith(".xz") else content


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, output, *modules = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "init"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-static", "-s", "-Wall", "-Wextra", "-o", program, source], check=True)
        Path(output).write_bytes(archive(program.read_bytes(), map(module, modules)))


if __name__ == "__main__":
    main()
