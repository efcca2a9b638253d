# SPDX-License-Identifier: Apache-2.0
"""A program that submits descriptors to a work queue by write(), for use under scripts/with-softdsa."""

import ctypes
import os
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "qemu"))
from waiting import eventually  # noqa: E402

NOOP, COMPVAL = 0, 6
ANSWER = 0x4 | 0x8  # the completion address is valid, and a record is requested


def until(condition, trouble):
    """Waits for another process or thread, or for a device."""
    eventually(condition, trouble=lambda: trouble)


class Queue:
    def __init__(self, path="/dev/dsa/wq0.0"):
        self.fd = os.open(path, os.O_RDWR)
        self.records = []

    def submit(self, operation=NOOP):
        """Returns False if the queue has no room or is disabled."""
        memory = ctypes.create_string_buffer(64)
        offset = -ctypes.addressof(memory) % 32
        record = (ctypes.c_ubyte * 32).from_buffer(memory, offset)
        descriptor = struct.pack("<IIQ", 0, ANSWER | operation << 24, ctypes.addressof(record)).ljust(64, b"\0")
        try:
            taken = os.write(self.fd, descriptor) == 64
        except BlockingIOError:
            return False
        self.records.append(record)
        return taken

    def answered(self):
        return all(record[0] == 1 for record in self.records)

    def run(self):
        until(self.submit, "the queue takes no NOOP")
        until(self.answered, "a NOOP is not answered")

    def close(self):
        os.close(self.fd)
