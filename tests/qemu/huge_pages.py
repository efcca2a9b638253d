# SPDX-License-Identifier: Apache-2.0
"""Huge pages of the host's pool, for the cases that need them."""

import fcntl
import os
from pathlib import Path

POOL = Path("/proc/sys/vm/nr_hugepages")
LOCK = Path("/dev/shm/migrate-test-huge-pages.lock")


def count(name):
    return int(next(line for line in Path("/proc/meminfo").read_text().splitlines()
                    if line.startswith(f"HugePages_{name}:")).split()[1])


def reserve_huge_pages(case, pages):
    """Lets the pool have so many free huge pages until the case ends, and its former size then; one case at a time.
    Skips the case where that cannot be."""
    lock = open(LOCK, "a", encoding="utf-8")  # pylint: disable=consider-using-with
    case.addCleanup(lock.close)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = int(POOL.read_text())
    free = count("Free") - count("Rsvd")
    if free < pages:
        if os.geteuid() != 0:
            case.skipTest(f"{free} huge pages are free, and {pages} are needed ({POOL}; root reserves them)")
        case.addCleanup(lambda: POOL.write_text(str(before)))
        POOL.write_text(str(before + pages - free))
        free = count("Free") - count("Rsvd")
    if free < pages:
        case.skipTest(f"the host has memory for {free} huge pages, and {pages} are needed")
