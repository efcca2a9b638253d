#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`migrate` on work queues that an administrator disables, and that others use. Arguments: library, `migrate`. With --inside MODE it
runs a migration, under scripts/with-softdsa."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import with_softdsa
from queue_user import until
from with_softdsa import skip

sys.path.insert(0, str(with_softdsa.SCRIPT.parent))
from qmp_client import Qmp  # noqa: E402

DEADLINE_S = 60
# The guest never becomes quiet at this speed, so the migration lasts until the limit is lifted.
GUEST = "workload:64M,rate=20,working-set=16M,warm-up=0"
SLOW = "2M/s"
# A device that is disabled disables its queues first.
DISABLED = "the (queue|device dsa0) is disabled"


class Side:
    """One side of a migration; its standard error is collected."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.text = ""
        self.changed = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.text += line
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def await_text(self, pattern):
        with self.changed:
            self.changed.wait_for(lambda: self.ended or re.search(pattern, self.text), DEADLINE_S)
            found = re.search(pattern, self.text)
        assert found, f"'{pattern}' is not in: {self.text}"
        return found

    def wait(self):
        code = self.process.wait(DEADLINE_S)
        self.reader.join()
        assert code == 0, f"exit code {code}: {self.text}"


def accel_config(*words):
    done = subprocess.run(["accel-config", *words], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done


def configure(queue, *mode):
    accel_config("config-wq", f"dsa0/{queue}", "-b", "1", "-y", "user", "-n", "app1", "-d", "user", "-p", "10", *mode)
    accel_config("enable-wq", f"dsa0/{queue}")


def connected(path):
    """The sender may not listen yet."""
    connections = []

    def connect():
        try:
            connections.append(Qmp(path))
        except OSError:
            return False
        return True

    until(connect, "there is no QMP server")
    return connections[0]


class Migration:
    """A migration that lasts until finish()."""

    def __init__(self, binary, folder, *options):
        self.receiver = Side(binary, "recv", "--listen", "127.0.0.1:0", "--sink", "anon:", "--run-for", "100ms", "--json")
        port = self.receiver.await_text(r"listening on 127\.0\.0\.1:(\d+)")[1]
        qmp, self.stats = Path(folder, "qmp"), Path(folder, "stats.json")
        self.sender = Side(binary, "send", "--connect", f"127.0.0.1:{port}", "--source", GUEST, "--max-bandwidth", SLOW,
                           "--qmp", f"unix:{qmp}", "--stats", str(self.stats), "--zero-page-detection", "dsa-accel",
                           "--accel-prefilter", "off", "--multifd-channels", "2", "--multifd-packet-size", "16K", *options)
        self.sender.await_text("zero pages are found by /dev/dsa/wq0.")
        self.control = connected(qmp)
        until(lambda: self.control.ask("query-migrate").get("ram", {}).get("transferred", 0) > 1 << 20,
              "nothing is sent")

    def finish(self):
        """Lets the migration complete; returns the sender's statistics."""
        with self.control:
            self.control.ask("migrate-set-parameters", max_bandwidth=0)
            self.sender.wait()
        self.receiver.wait()
        return json.loads(self.stats.read_text())


def migrate(binary, folder, disturb, *options):
    """Runs a migration, calls `disturb(sender)` in the middle of it, and returns the figures of its queues."""
    migration = Migration(binary, folder, "--accel-share", "all", *options)
    disturb(migration.sender)
    return migration.finish()["accel"]["queues"]


def shared(binary, folder):
    def disturb(sender):
        accel_config("disable-wq", "-f", "dsa0/wq0.0")
        sender.await_text("/dev/dsa/wq0.0 takes no work: the queue is disabled; its channels use other queues or the CPU")
        configure("wq0.0", "-m", "shared", "-t", "64")
        sender.await_text("/dev/dsa/wq0.0 answers again")
        accel_config("disable-device", "-f", "dsa0")
        sender.await_text(f"/dev/dsa/wq0.1 takes no work: {DISABLED}; its channels use other queues or the CPU")

    queues = migrate(binary, folder, disturb, "--accel-timeout", "60s")
    assert all(re.fullmatch(f"takes no work: {DISABLED}", queue["trouble"]) for queue in queues), queues
    assert all(queue["times-left"] >= times and queue["left"] for queue, times in zip(queues, (2, 1))), queues
    assert all(queue["descriptors"] > 0 and queue["timeouts"] == 0 for queue in queues), queues


def dedicated(binary, folder):
    def disturb(sender):
        accel_config("disable-wq", "-f", "dsa0/wq0.0")
        sender.await_text("/dev/dsa/wq0.0 did not answer in time .*: the queue is disabled; it is not used any more")

    queues = migrate(binary, folder, disturb, "--accel-timeout", "1s")
    assert queues[0]["disabled"] and queues[0]["timeouts"] > 0, queues
    assert queues[1]["descriptors"] > 0, queues


def by_write(binary, folder):
    def disturb(sender):
        accel_config("disable-wq", "-f", "dsa0/wq0.0")
        sender.await_text("/dev/dsa/wq0.0 takes no work: the queue is disabled")

    queues = migrate(binary, folder, disturb, "--accel-timeout", "60s")
    assert "trouble" not in queues[1] and queues[1]["descriptors"] > 0, queues


def contention(binary, folder):
    # Run with: --mode shared --queues 1 --timing
    migrations = []
    for number in range(4):
        Path(folder, str(number)).mkdir()
        migrations.append(Migration(binary, Path(folder, str(number)), "--accel-timeout", "60s"))
    assert Path("/sys/bus/dsa/devices/dsa0/wq0.0/clients").read_text() == "4\n"
    for migration in migrations:
        accel = migration.finish()["accel"]
        assert accel["timeouts"] == 0 and accel["descriptors"] > 0, accel


class Migrations(unittest.TestCase):
    runner = None
    binary = ""

    def inside(self, case, *options):
        done = self.runner.run(options, [sys.executable, "-B", __file__, "--inside", case, self.binary], timeout=300)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_shared_queues_are_left_and_used_again(self):
        self.inside("shared", "--mode", "shared")

    def test_dedicated_queues_that_lose_descriptors_are_given_up(self):
        self.inside("dedicated", "--mode", "dedicated")

    def test_four_migrations_share_a_queue(self):
        self.inside("contention", "--mode", "shared", "--queues", "1", "--timing")

    def test_queues_that_are_written_to_are_left(self):
        self.inside("by_write", "--mode", "shared", "--no-mmap")


if __name__ == "__main__":
    if "--inside" in sys.argv:
        case, program = sys.argv[2:]
        with tempfile.TemporaryDirectory() as scratch:
            cases = {"shared": shared, "dedicated": dedicated, "by_write": by_write, "contention": contention}
            sys.exit(cases[case](program, scratch))
    Migrations.binary = sys.argv.pop()
    Migrations.runner = with_softdsa.Runner(sys.argv.pop())
    if not shutil.which("accel-config"):
        skip("accel-config is not installed (apt-get install accel-config)")
    Migrations.runner.skip_without_namespaces()
    unittest.main(verbosity=2)
