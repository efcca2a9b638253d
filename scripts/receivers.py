# SPDX-License-Identifier: Apache-2.0
"""Starts `migrate recv` for the scripts that measure."""

import subprocess
import sys
import time
from pathlib import Path

LIMIT_S = 120


def start_receiver(program, port_file, *options, stderr=subprocess.DEVNULL):
    """Starts a receiver on a port of the kernel's choice. Returns the process and its port."""
    port_file.unlink(missing_ok=True)
    receiver = subprocess.Popen([program, "recv", "--listen", "127.0.0.1:0", "--port-file", port_file, *options],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, text=True)
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and receiver.poll() is None:
        if port_file.exists() and port_file.read_text().strip():
            return receiver, port_file.read_text().strip()
        time.sleep(0.002)
    receiver.kill()
    raise SystemExit(f"{Path(sys.argv[0]).name}: a receiver does not start")
