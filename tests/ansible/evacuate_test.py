#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The playbook of contrib/ansible moves the guests of a host that is a network namespace, and a destination fails.

Arguments: the program `migrate`, and `short` (built-in guests) or `long` (20 guests, half of them of two QEMUs, four at
a time over 1 Gbit/s). Skipped without root, ansible-core, iproute2, or for `long` a QEMU.
"""

import os
import sys
import unittest

import long_evacuation
from cases import Evacuated
from playbook import SKIPPED, reason_to_skip


class Short(Evacuated):
    def test_guests_of_a_destination_that_fails_go_to_another_one(self):
        network = self.network("source", "first", "second")
        guests = [{"name": f"guest{number}", "source": "workload:24M,rate=1", "destination": "first",
                   "fallback": ["second"], "port": 4501 + number,
                   "options": {"events": str(self.folder / f"guest{number}.events")}} for number in range(4)]
        guests[0].update(destination="second", fallback=[])
        guests[1]["options"]["max-bandwidth"] = "4M/s"
        # Ansible has more forks than that, so there are two batches.
        run = self.begin(network, guests, evacuate_parallel=2, evacuate_destination_failures=1)
        self.await_page("guest1")
        network.fail("first")
        self.assertEqual(run.wait(500), 0, run.output())
        print(run.output())
        rows = {row["guest"]: row for row in run.report()["guests"]}
        tried = {guest: [attempt["to"] for attempt in row["history"]] for guest, row in rows.items()}
        self.assertEqual(tried, {"guest0": ["second"], "guest1": ["first", "second"], "guest2": ["second"],
                                 "guest3": ["second"]})
        self.assertEqual(rows["guest1"]["history"][0]["exit_code"], 1)
        self.assertEqual({(row["exit_code"], row["now"]) for row in rows.values()}, {(0, "second")})
        self.check_builtin_guests(network, run, list(rows))

    def test_dry_run_moves_nothing_and_predicts(self):
        network = self.network("source", "first")
        guests = [{"name": "small", "source": "workload:64M,rate=10", "destination": "first", "port": 4501},
                  {"name": "wild", "source": "workload:1G,rate=1000", "destination": "first", "port": 4502}]
        run = self.begin(network, guests, "--check")
        self.assertEqual(run.wait(300), 0, run.output())
        plan = run.report()["plan"]
        small, wild = plan["guests"]
        self.assertEqual((small["converges"], wild["converges"], plan["time"]), (True, False, None), run.output())
        self.assertLessEqual(small["downtime"], 300)
        self.assertIn("does not converge", run.output())
        self.assertEqual([network.commands(host, side) for host in network.hosts for side in ("send", "recv")], [{}] * 4)


if __name__ == "__main__":
    Evacuated.binary, form = os.path.abspath(sys.argv[1]), sys.argv[2]
    reason = reason_to_skip() or (long_evacuation.reason_to_skip() if form == "long" else "")
    if reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    module = long_evacuation if form == "long" else "__main__"
    unittest.main(module=module, argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
