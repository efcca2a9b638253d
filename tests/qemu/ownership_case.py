# SPDX-License-Identifier: Apache-2.0
"""What the cases share in which another client touches a QEMU while `migrate` moves its guest."""

import runner
import vm
from faults import FaultyQmp

PROGRAM = "exec:cat >/dev/null"  # a migration into a program, which takes a moment
# Commands that each side of `migrate` sends while the guest is paused, to save its devices and to load them.
SAVES = ("xen-save-devices-state",) if vm.MOVES_BLOCKS else ("getfd", "migrate-set-capabilities",
                                                             "query-migrate-parameters", "migrate")
LOADS = ("migrate-incoming",) if vm.MOVES_BLOCKS else ("getfd", "migrate-incoming")


class Case(runner.Case):
    # The guest writes slowly: the rounds end soon, and the moments of interest are in the switchover.
    shape = {"rewrite_mib": 16, "rate": 4, "memory_mib": 128}

    def both(self):
        return self.guest(), self.waiting()

    def proxy(self, qemu, **fault):
        proxy = FaultyQmp(qemu, **fault)
        self.addCleanup(proxy.close)
        return proxy

    def start(self, source, destination, *options, source_at=None, destination_at=None, **more):
        self.begin(source, destination, *vm.ANY_PAUSE, *options, channels=2,
                   source_at=source_at and source_at.at, destination_at=destination_at and destination_at.at, **more)

    def strike_within(self, seconds):
        """Returns at a random moment of the migration."""
        self.migration.sender.await_words("connected to")
        vm.ends_within(self.migration.sender.process, self.chance.uniform(0, seconds))

    def check_fails(self, *words):
        """Returns when the sender and its guardian have ended: nothing happens to the source after that."""
        code = self.migration.sender.wait()
        self.assertNotEqual(code, 0, self.migration.words())
        for word in words:
            self.assertIn(word, self.migration.sender.words, self.migration.words())

    def check_never_ran(self, qemu):
        self.assertEqual(qemu.ticks(), [], "the guest ran at the destination")

    def check_handed_over(self, source):
        """It is the other client's, and does not run here."""
        self.assertEqual(source.state(), "postmigrate", self.migration.words())
        self.assertTrue(source.is_silent())

    def require_own_migration(self):
        """Skips where QEMU saves its devices without a migration, and no setting is changed for it."""
        if vm.MOVES_BLOCKS:
            self.skipTest("this QEMU's devices are saved without a migration")


def ask(qemu, *commands):
    """By the other client."""
    with qemu.operator() as qmp:
        for command in commands:
            qmp.ask(command)


def migrate_away(qemu, ends=("completed",)):
    """Another client migrates the guest; how that ends."""
    with qemu.operator() as qmp:
        qmp.ask("migrate", uri=PROGRAM)

        def status():
            now = qmp.ask("query-migrate").get("status")
            return now if now in (*ends, "failed") else None
        return vm.eventually(status)


def hand_over(qemu):
    """Another client migrates the guest, to its end."""
    if migrate_away(qemu) == "failed":
        raise vm.Trouble("the other client's migration failed")
    qemu.await_state("postmigrate")
