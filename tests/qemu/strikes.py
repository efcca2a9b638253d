# SPDX-License-Identifier: Apache-2.0
"""Faults for a migration of a running QEMU: killed processes, a cut network, and commands of a second client to either
QEMU. Each one returns its possible consequences, for random_failure_test.py."""

import signal
import socket
import time
from dataclasses import dataclass, field

import vm

SPARE = "spare"  # a device that both QEMUs have, to be unplugged
DEVICES = ("-device", "pcie-root-port,id=port0,chassis=1,slot=1", "-device",
           f"virtio-balloon-pci,id={SPARE},bus=port0")


@dataclass
class Struck:
    """The effects of a strike."""

    words: str = ""  # how it ended, for the output
    killed: set = field(default_factory=set)  # "source", "destination", "sender", "receiver"
    stopped: bool = False  # the guest may be paused on purpose
    stayed_at: float = 0  # when the operator stopped a guest that nobody else had paused, by the clock
    cont_at: float = 0  # when a `cont` was sent to the source, by the clock
    reset: bool = False  # the guest may have been booted again
    changed: bool = False  # the source is not fit for another turn
    third: object = None  # a QEMU that may have the guest


def ask(qemu, struck, command, **arguments):
    """Through the second client's socket. Whatever QEMU says is right."""
    try:
        with qemu.operator() as qmp:
            qmp.ask(command, **arguments)
        struck.words = "done"
    except vm.Trouble as trouble:
        struck.words = f"refused ({trouble})"
    except OSError as error:
        struck.words = f"not there ({error})"


def kill_qemu(side):
    def strike(turn, struck):
        turn.watches[side].killed(time.time())
        turn.qemus[side].process.kill()
        struck.killed.add(side)
    return strike


def kill_migrate(side):
    def strike(turn, struck):
        process = getattr(turn.migration, side).process
        if process.poll() is not None:
            struck.words = "had ended"
            return
        process.send_signal(signal.SIGKILL)
        struck.killed.add(side)
    return strike


def cut(turn, _struck):
    turn.route.cut()


def stop(side):
    def strike(turn, struck):
        struck.stopped = True
        ask(turn.qemus[side], struck, "stop")
        when = time.time()
        # Had the sender paused the guest at the same time, it would say so within 0.1 s.
        if side == "source" and struck.words == "done" and not turn.was_paused(0.1):
            struck.stayed_at = when
    return strike


def cont(side):
    def strike(turn, struck):
        if side == "source":
            struck.cont_at = time.time()
        ask(turn.qemus[side], struck, "cont")
    return strike


def stop_and_cont(turn, struck):
    struck.cont_at = time.time()
    ask(turn.qemus["source"], struck, "stop")
    turn.pause(0.05)
    ask(turn.qemus["source"], struck, "cont")


def reset(side):
    def strike(turn, struck):
        struck.reset = True
        ask(turn.qemus[side], struck, "system_reset")
    return strike


def migrate_to_third(turn, struck):
    """QEMU itself migrates the guest to a third QEMU."""
    third = struck.third = turn.third()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with third.operator() as qmp:
        qmp.ask("migrate-incoming", uri=f"tcp:127.0.0.1:{port}")
    struck.changed = True
    ask(turn.qemus["source"], struck, "migrate", uri=f"tcp:127.0.0.1:{port}")


def migrate_to_nowhere(turn, struck):
    """QEMU itself migrates the guest into a program that discards it; the source stays paused."""
    struck.stopped = struck.changed = True
    ask(turn.qemus["source"], struck, "migrate", uri="exec:cat >/dev/null")


def add_object(side):
    def strike(turn, struck):
        qemu = turn.qemus[side]
        struck.changed = side == "source"
        ask(qemu, struck, "object-add", qom_type="memory-backend-file", id="plugged", size=64 << 20, share=True,
            mem_path=f"/dev/shm/migrate-test-{qemu.name}.mem-plugged")
    return strike


def plug(turn, struck):
    add_object("source")(turn, struck)
    ask(turn.qemus["source"], struck, "device_add", driver="pc-dimm", id="dimm", memdev="plugged")


def delete_device(side):
    def strike(turn, struck):
        struck.changed = side == "source"
        ask(turn.qemus[side], struck, "device_del", id=SPARE)
    return strike


KINDS = {
    "source QEMU killed": kill_qemu("source"),
    "destination QEMU killed": kill_qemu("destination"),
    "sender killed": kill_migrate("sender"),
    "receiver killed": kill_migrate("receiver"),
    "network cut": cut,
    "stop at the source": stop("source"),
    "stop at the destination": stop("destination"),
    "cont at the source": cont("source"),
    "cont at the destination": cont("destination"),
    "stop and cont at the source": stop_and_cont,
    "system_reset at the source": reset("source"),
    "system_reset at the destination": reset("destination"),
    "migrate to a third QEMU": migrate_to_third,
    "migrate to a program": migrate_to_nowhere,
    "object-add at the source": add_object("source"),
    "object-add at the destination": add_object("destination"),
    "pc-dimm at the source": plug,
    "device_del at the source": delete_device("source"),
    "device_del at the destination": delete_device("destination"),
}
# A `cont` at a source whose guest is at the destination makes two of it: the operator's own doing.
NOT_AFTER = ("cont at the source", "stop and cont at the source", "sender killed", "receiver killed", "network cut",
             "migrate to a third QEMU", "migrate to a program")
