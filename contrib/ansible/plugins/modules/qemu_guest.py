#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Asks a QEMU by QMP for its guest. It changes nothing, and a QEMU that does not answer is no error."""

from __future__ import annotations

import json
import socket
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: qemu_guest
short_description: Asks a QEMU for the state of its guest
description:
  - Asks a QEMU by QMP whether its guest runs, how large its memory is and how fast it writes it. Changes nothing.
options:
  socket:
    description: QEMU's QMP socket.
    type: path
    required: true
  measure_seconds:
    description: How long QEMU measures the rate at which the guest writes memory (C(calc-dirty-rate)); 0 does not.
    type: int
    default: 0
  timeout:
    description: Seconds after which a QEMU counts as silent.
    type: int
    default: 10
author:
  - The developers of migrate
"""

EXAMPLES = r"""
- name: Ask QEMU
  migrate.hosts.qemu_guest:
    socket: /run/web1.qmp
    measure_seconds: 1
"""

RETURN = r"""
present:
  description: Whether a QEMU answered.
  type: bool
  returned: always
state:
  description: The C(status) of C(query-status), such as running, paused or postmigrate; empty if no QEMU answered.
  type: str
  returned: always
memory:
  description: Size of the guest's memory in bytes.
  type: int
  returned: if QEMU told it
dirty_rate:
  description: Bytes that the guest writes per second.
  type: int
  returned: if it was measured
reason:
  description: Why no QEMU answered.
  type: str
  returned: if none did
"""


class Monitor:
    """A QMP client that waits at most until `until` (time.monotonic())."""

    def __init__(self, until):
        self.until = until
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.rest = b""

    def connect(self, path):
        self._set_timeout()
        self.socket.connect(path)
        if "QMP" not in self._next():
            raise OSError("it does not speak QMP")
        self.ask("qmp_capabilities")

    def _set_timeout(self):
        left = self.until - time.monotonic()
        if left <= 0:
            raise OSError("no answer in time")
        self.socket.settimeout(left)

    def _next(self):
        while b"\n" not in self.rest:
            self._set_timeout()
            data = self.socket.recv(65536)
            if not data:
                raise OSError("it closed the connection")
            self.rest += data
            if len(self.rest) > 1 << 22:
                raise OSError("its answer is too long")
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, command, **arguments):
        self._set_timeout()
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._next()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise OSError(f"{command}: {answer['error'].get('desc')}")


def measured_rate(monitor, seconds):
    """Bytes per second, or None if this QEMU cannot measure it."""
    try:
        monitor.ask("calc-dirty-rate", **{"calc-time": seconds})
        while True:
            time.sleep(seconds if seconds < 1 else 0.2)
            said = monitor.ask("query-dirty-rate")
            if said.get("status") == "measured":
                return said["dirty-rate"] << 20
    except OSError:
        return None


def facts_of(path, seconds, timeout):
    found = {"present": False, "state": ""}
    monitor = Monitor(time.monotonic() + timeout + seconds)
    try:
        monitor.connect(path)
        found.update(present=True, state=str(monitor.ask("query-status")["status"]))
        summary = monitor.ask("query-memory-size-summary")
        found["memory"] = summary["base-memory"] + summary.get("plugged-memory", 0)
        if seconds and found["state"] == "running":
            rate = measured_rate(monitor, seconds)
            if rate is not None:
                found["dirty_rate"] = rate
    except (OSError, ValueError, KeyError, TypeError) as error:
        found["reason"] = f"{path}: {error}"
    finally:
        monitor.socket.close()
    return found


def main():
    module = AnsibleModule(argument_spec={
        "socket": {"type": "path", "required": True},
        "measure_seconds": {"type": "int", "default": 0},
        "timeout": {"type": "int", "default": 10},
    }, supports_check_mode=True)
    wanted = module.params
    module.exit_json(changed=False, **facts_of(wanted["socket"], wanted["measure_seconds"], wanted["timeout"]))


if __name__ == "__main__":
    main()
