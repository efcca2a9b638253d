# SPDX-License-Identifier: Apache-2.0
"""Two hosts with several links between them: network namespaces, veth and a token bucket (tbf) on the sender's end of
each link. Needs root. Everything ends with the process."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "qemu"))

from waiting import Trouble, eventually  # noqa: E402

CLONE_NEWNET = 0x40000000
MTU = 9000  # so that headers take less than a hundredth of a link


class Missing(Exception):
    """This host cannot do it; the text says why."""


def command(*words, check=True):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Missing(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def enter_own_namespace(*tools):
    """Puts this process into a new network namespace, whose `lo` is up. `tools`: programs that it needs."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for tool in ("ip", *tools):
        if not shutil.which(tool):
            raise Missing(f"there is no program '{tool}' (iproute2, nftables, util-linux)")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise Missing(f"a network namespace cannot be made: {os.strerror(ctypes.get_errno())} (root can)")
    command("ip", "link", "set", "lo", "up")


class Link:
    """The link number `index`, whose sender's end is an interface of this namespace."""

    def __init__(self, index, mbit, holder):
        self.name = f"link{index}"
        self.own = f"10.211.{index}.1"
        self.peer = f"10.211.{index}.2"
        self.mbit = mbit
        far = f"far{index}"
        command("ip", "link", "add", self.name, "mtu", str(MTU), "type", "veth", "peer", "name", far, "mtu", str(MTU))
        command("ip", "link", "set", far, "netns", str(holder.pid))
        command("ip", "address", "add", f"{self.own}/24", "dev", self.name)
        command("ip", "link", "set", self.name, "up")
        there = ("nsenter", "--target", str(holder.pid), "--net", "ip")
        command(*there, "address", "add", f"{self.peer}/24", "dev", far)
        command(*there, "link", "set", far, "up")
        command("tc", "qdisc", "add", "dev", self.name, "root", "tbf", "rate", f"{mbit}mbit", "burst", "256kb",
                "latency", "30ms")

    def cut(self):
        command("ip", "link", "set", self.name, "down")

    def mend(self):
        command("ip", "link", "set", self.name, "up")

    def sent(self):
        """Bytes that left by it, with all headers."""
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, _, counters = line.partition(":")
            if name.strip() == self.name:
                return int(counters.split()[8])
        raise Missing(f"{self.name} is gone")


class Network:
    """The sender's host is this process; `there` is a prefix for commands of the receiver's host."""

    def __init__(self, rates):
        enter_own_namespace("tc", "nsenter", "unshare")
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.await_namespace()
        self.links = [Link(index, mbit, self.holder) for index, mbit in enumerate(rates)]
        self.there = ["nsenter", "--target", str(self.holder.pid), "--net"]

    def await_namespace(self):
        own = os.readlink("/proc/self/ns/net")

        def entered():
            return self.holder.poll() is None and os.readlink(f"/proc/{self.holder.pid}/ns/net") != own

        try:
            eventually(entered, 20)
        except Trouble:
            raise Missing("unshare --net does not make a network namespace") from None

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(20)
