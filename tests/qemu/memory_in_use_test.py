#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A destination QEMU is started with memory that another guest uses: the source's, or that of a third guest that has
nothing to do with the migration. The migration is refused, and every guest goes on with every page as it was."""

import os
import subprocess
from pathlib import Path

import runner
import vm
from runner import each

PATHS = ("the same path", "symbolic link", "hard link", "bind mount", "bind mount of the folder", "descriptor")


class MemoryInUse(runner.Case):
    shape = {"rewrite_mib": 32, "rate": 32}

    def path_to(self, kind, qemu):
        """Another path to the QEMU's memory."""
        if kind == "the same path":
            return qemu.memory
        if kind == "descriptor":
            descriptors = Path(f"/proc/{qemu.pid}/fd")
            return next(entry for entry in descriptors.iterdir() if os.path.realpath(entry) == str(qemu.memory))
        path = self.folder / "memory"
        if kind == "symbolic link":
            path.symlink_to(qemu.memory)
        elif kind == "hard link":
            path = qemu.memory.with_suffix(".name")
            path.hardlink_to(qemu.memory)
            self.addCleanup(path.unlink)
        elif kind == "bind mount":
            path.touch()
            self.mount(qemu.memory, path)
        else:
            path.mkdir()
            self.mount(qemu.memory.parent, path)
            path /= qemu.memory.name
        return path

    def mount(self, what, where):
        subprocess.run(["mount", "--bind", what, where], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", where], check=True)

    def check_unharmed(self, *qemus):
        """Each guest runs on and finds in every page what it wrote, over all its memory."""
        for qemu in qemus:
            self.check_runs(qemu, 40)
            self.assertEqual(qemu.state(), "running")

    def check_sink_refused(self, source, path, words):
        destination = self.waiting(memory_path=path)
        migration = self.begin(source, destination)
        self.assertNotEqual(migration.sender.wait(), 0)
        self.assertIn(words, migration.sender.words)
        # It waits for a sender that it can serve.
        migration.receiver.await_words(words)
        self.assertIsNone(migration.receiver.process.poll())
        self.assertEqual(destination.state(), "inmigrate")

    @each(*PATHS)
    def test_the_sources_own_memory(self, kind):
        source = self.guest()
        self.check_sink_refused(source, self.path_to(kind, source), "source and sink are the same file")
        self.check_unharmed(source)

    @each(*PATHS)
    def test_the_memory_of_a_third_guest(self, kind):
        source, third = self.guest(), self.guest()
        self.check_sink_refused(source, self.path_to(kind, third), f"(pid {third.pid}) has it mapped")
        self.check_unharmed(source, third)

    def test_the_memory_of_a_third_guest_that_is_private_to_it(self):
        """share=off: the guest reads from the file what it has not written yet."""
        source = self.guest()
        template = Path(f"/dev/shm/migrate-test-{os.getpid()}.template")
        template.write_bytes(b"t" * (256 << 20))
        self.addCleanup(template.unlink)
        third = self.guest(backend="private", extra=(
            "-object", f"memory-backend-file,id=x,size=256M,mem-path={template},share=off"))
        self.check_sink_refused(source, template, f"(pid {third.pid}) has it mapped")
        self.assertEqual(template.read_bytes(), b"t" * (256 << 20))
        self.check_unharmed(source, third)

    def test_a_guest_that_comes_while_the_receiver_waits(self):
        source = self.guest()
        destination = self.waiting()
        receiver = self.side("recv", "--listen", "127.0.0.1:0", "--sink", f"qemu:{destination.qmp_path}",
                             "--listen-timeout", "120s")
        endpoint = receiver.endpoint()
        late = self.guest(memory_path=destination.memory)
        sender = self.side("send", "--source", f"qemu:{source.qmp_path}", "--connect", endpoint)
        self.assertNotEqual(sender.wait(), 0)
        self.assertIn(f"(pid {late.pid}) has it mapped", sender.words)
        self.check_unharmed(source, late)

    def test_a_guest_that_comes_while_memory_arrives(self):
        """The memory of that guest is lost to the one that arrives already; but the latter must not run in it, too."""
        source = self.guest()
        destination = self.waiting()
        migration = self.begin(source, destination, "--max-bandwidth", "4M")
        migration.receiver.await_words("connected: ")
        late = self.own(vm.Qemu(self.image, memory_path=destination.memory))
        self.assertNotEqual(migration.sender.wait(), 0)
        self.assertNotEqual(migration.receiver.wait(), 0)
        self.assertIn(f"(pid {late.pid}) has it mapped", migration.sender.words)
        self.check_unharmed(source)

    def test_a_process_that_is_not_the_qemu_of_the_socket(self):
        third = self.guest()
        destination = self.waiting()
        self.check_refused("is not the QEMU that answers on", "recv", "--listen", "127.0.0.1:0", "--sink",
                           f"qemu:{destination.qmp_path},pid={third.pid}")
        self.check_unharmed(third)


if __name__ == "__main__":
    runner.main(__doc__)
