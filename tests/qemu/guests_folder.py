#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: guests_folder.py make|remove FOLDER

Makes the folder in which the cases that ctest runs share their booted guests, with the guest's initramfs in it; or
removes it. Where no guest can be booted the folder stays empty, and each case says why it is skipped."""

import shutil
import sys
from pathlib import Path

from environment import QEMU, build_initramfs


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("make", "remove"):
        sys.exit(__doc__)
    action, folder = sys.argv[1], Path(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    if action == "make":
        folder.mkdir(parents=True)
        if QEMU is not None:
            build_initramfs(folder)


if __name__ == "__main__":
    main()
