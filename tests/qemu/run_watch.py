# SPDX-License-Identifier: Apache-2.0
"""When a QEMU's guest ran, by QEMU's own events and their times, which the QEMUs of one host take from one clock. This
way nothing is missed that happens between two queries of a QEMU's state."""

import vm

FOREVER = float("inf")


class RunWatch:
    """Records when a guest runs. Its QEMU (from vm.BootedGuests, or incoming) announces every run by an event."""

    def __init__(self, qemu):
        self.qemu = qemu
        self.control = qemu.control
        self.killed_at = FOREVER

    def killed(self, when):
        """Notes that the QEMU was killed at `when`. Called before its socket is closed."""
        self.killed_at = when

    def ran(self):
        """[since, until] of each time that the guest ran, by the clock."""
        with self.control.changed:
            events = list(self.control.events)
            end = min(self.killed_at, self.control.closed_at or FOREVER)
        runs = []
        for event in events:
            running = bool(runs) and runs[-1][1] == FOREVER
            if event["event"] == "RESUME" and not running:
                runs.append((vm.time_of(event), FOREVER))
            elif event["event"] == "STOP" and running:
                runs[-1] = (runs[-1][0], vm.time_of(event))
        return [(since, min(until, end)) for since, until in runs]

    def running(self):
        runs = self.ran()
        return bool(runs) and runs[-1][1] == FOREVER

    def last_events(self):
        """For messages."""
        return [(vm.time_of(event), event["event"]) for event in self.control.events[-6:]]


def overlaps(one, other):
    """When both guests ran, as [since, until] each."""
    return [(max(a[0], b[0]), min(a[1], b[1])) for a in one.ran() for b in other.ran() if
            max(a[0], b[0]) < min(a[1], b[1])]
