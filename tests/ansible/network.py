# SPDX-License-Identifier: Apache-2.0
"""Hosts that are network namespaces, connected by a switch. The first one's link has a limited rate."""

import os
import signal
import subprocess
from pathlib import Path


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, timeout=60)


def end(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Network:
    """Namespaces NAME-PID for hosts; remove() ends them and all processes in them."""

    def __init__(self, *hosts, rate="1gbit"):
        self.hosts, self.rate = hosts, rate
        self.switch = f"switch-{os.getpid()}"

    def namespace(self, host):
        return f"{host}-{os.getpid()}"

    def address(self, host):
        return f"10.77.0.{self.hosts.index(host) + 1}"

    def make(self):
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "bridge", "up", "type", "bridge")
        for number, host in enumerate(self.hosts):
            name = self.namespace(host)
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"port{number}", "netns", self.switch, "type", "veth", "peer", "name", "eth0",
                "netns", name)
            run("ip", "-n", self.switch, "link", "set", f"port{number}", "master", "bridge", "up")
            run("ip", "-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                run("ip", "-n", name, "link", "set", link, "up")
        # The source's uplink, which all its migrations share.
        run("tc", "-n", self.namespace(self.hosts[0]), "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", self.rate,
            "burst", "1mb", "latency", "50ms")

    def pids(self, host):
        listed = subprocess.run(["ip", "netns", "pids", self.namespace(host)], capture_output=True, text=True,
                                check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def commands(self, host, side):
        """{guest: process ids} of every `migrate send` or `migrate recv` on the host; a sender's guardian counts too."""
        found = {}
        for pid in self.pids(host):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words[1:2] == [side] and "--guest-name" in words:
                found.setdefault(words[words.index("--guest-name") + 1], []).append(pid)
        return found

    def fail(self, host):
        """The host's link goes down, and the receivers of the guests that are being moved are killed. The guests that
        it has already got run on."""
        run("ip", "-n", self.namespace(host), "link", "set", "eth0", "down")
        moving = self.commands(self.hosts[0], "send")
        for guest, pids in self.commands(host, "recv").items():
            if guest in moving:
                end(pids, signal.SIGKILL)

    def remove(self):
        for host in self.hosts:
            end(self.pids(host), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", self.namespace(host)], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.switch], check=False, capture_output=True)
