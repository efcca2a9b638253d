# SPDX-License-Identifier: Apache-2.0
"""What the cases of the playbook have in common."""

import signal
import tempfile
import unittest
from pathlib import Path

from network import Network, end
from playbook import Evacuation
from waiting import eventually

# Long enough for a host on which Ansible takes minutes to start a program.
SETTINGS = {"evacuate_link": "1Gbit/s", "evacuate_tls_creds": "none", "evacuate_poll": 1, "evacuate_io_timeout": "10s",
            "evacuate_connect_timeout": "60s", "evacuate_reconnect_timeout": "2s", "evacuate_listen_timeout": "180s",
            "evacuate_receiver_timeout": 240, "evacuate_retry_delay": 1, "evacuate_deadline": 300,
            "evacuate_builtin_lifetime": 1200}


class Evacuated(unittest.TestCase):
    binary = ""  # the `migrate` to test

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="migrate-evacuate-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def network(self, *hosts):
        network = Network(*hosts)
        self.addCleanup(network.remove)
        network.make()
        return network

    def begin(self, network, guests, *words, **settings):
        run = Evacuation(self.folder, network, guests, {**SETTINGS, "evacuate_program": self.binary, **settings})
        self.addCleanup(run.end)
        run.start(*words)
        return run

    def await_page(self, guest):
        """Waits until the guest's move has begun its first round."""
        path = self.folder / f"{guest}.events"
        eventually(lambda: path.exists() and "MIGRATION_PASS" in path.read_text(), 300)

    def check_builtin_guests(self, network, run, names):
        """Each of them runs once, at a destination, and finds what it wrote in its memory."""
        self.assertEqual(network.commands(network.hosts[0], "send"), {})
        running = [(guest, host) for host in network.hosts[1:] for guest in network.commands(host, "recv")]
        self.assertEqual(sorted(guest for guest, _ in running), sorted(names))
        self.assertEqual({row["guest"]: row["now"] for row in run.report()["guests"] if row["guest"] in names},
                         dict(running))
        for host in network.hosts[1:]:
            for pids in network.commands(host, "recv").values():
                end(pids, signal.SIGTERM)
        lines = eventually(lambda: self.ended(run, len(names)), 120)
        self.assertEqual([line["outcome"] for line in lines], ["completed"] * len(names))

    @staticmethod
    def ended(run, count):
        """The line of each receiver that got a guest, once all have ended. A guest whose memory is wrong has failed."""
        lines = [line for line in run.receivers() if line["guest-owner"] == "destination"]
        return lines if len(lines) >= count else None
