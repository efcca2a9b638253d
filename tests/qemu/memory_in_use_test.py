#!/usr/bin/env python3
"""Usage: memory_in_use_test.py MIGRATE

A destination QEMU is started with memory that another guest uses: the source's, or that of a third guest that has
nothing to do with the migration. The migration is refused, and every guest goes on with every page as it was.
MIGRATE_TEST_REPEATS sets how often each case runs (default 1).
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import vm

MIGRATE = ""
FOLDER = None
IMAGE = None
REPEATS = int(os.environ.get("MIGRATE_TEST_REPEATS", "1"))


def path_to(kind, qemu, folder):
    """Another path to the QEMU's memory."""
    if kind == "the same path":
        return qemu.memory
    if kind == "descriptor":
        descriptors = Path(f"/proc/{qemu.pid}/fd")
        return next(entry for entry in descriptors.iterdir() if os.path.realpath(entry) == str(qemu.memory))
    path = Path(folder) / "memory"
    path.unlink(missing_ok=True)
    if kind == "symbolic link":
        path.symlink_to(qemu.memory)
    elif kind == "hard link":
        path = qemu.memory.with_suffix(".name")
        path.unlink(missing_ok=True)
        path.hardlink_to(qemu.memory)
    elif kind == "bind mount":
        path.touch()
        subprocess.run(["mount", "--bind", qemu.memory, path], check=True)
    elif kind == "folder's bind mount":
        path = Path(folder) / "shm"
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", qemu.memory.parent, path], check=True)
        return path / qemu.memory.name
    return path


KINDS = ("the same path", "symbolic link", "hard link", "bind mount", "folder's bind mount", "descriptor")


def remove(kind, path, folder):
    if kind == "bind mount":
        subprocess.run(["umount", "--lazy", path], check=True)
    if kind == "folder's bind mount":
        subprocess.run(["umount", "--lazy", path.parent], check=True)
    elif kind in ("symbolic link", "hard link", "bind mount"):
        path.unlink()


class MemoryInUse(unittest.TestCase):
    def boot(self, **options):
        qemu = vm.Qemu(IMAGE, rewrite_mib=32, rate=32, **options)
        self.addCleanup(qemu.kill)
        qemu.await_boot()
        return qemu

    def check_unharmed(self, *qemus):
        """Each guest runs on and finds in every page what it wrote, over all its memory."""
        for qemu in qemus:
            last = qemu.await_more(40)
            self.assertEqual(last[3], 0, "the guest found pages that hold something else than it wrote")
            self.assertEqual(qemu.state(), "running")

    def refuse(self, source, path, words, *options):
        with vm.Qemu(IMAGE, incoming=True, memory_path=path) as destination:
            migration = vm.Migration(MIGRATE, source, destination, FOLDER, *options)
            try:
                self.assertNotEqual(migration.sender.wait(), 0)
                self.assertIn(words, migration.sender.words)
                # It waits for a sender that it can serve.
                self.assertIn(words, migration.receiver.words)
                self.assertIsNone(migration.receiver.process.poll())
                self.assertEqual(destination.state(), "inmigrate")
            finally:
                migration.end()

    def each_path(self, qemu):
        for kind in KINDS:
            for turn in range(REPEATS):
                with self.subTest(kind, turn=turn):
                    path = path_to(kind, qemu, FOLDER)
                    try:
                        yield path
                    finally:
                        remove(kind, path, FOLDER)

    def test_the_sources_own_memory(self):
        source = self.boot()
        for path in self.each_path(source):
            self.refuse(source, path, "source and sink are the same file")
            self.check_unharmed(source)

    def test_the_memory_of_a_third_guest(self):
        source = self.boot()
        third = self.boot()
        for path in self.each_path(third):
            self.refuse(source, path, f"(pid {third.pid}) has it mapped")
            self.check_unharmed(source, third)

    def test_the_memory_of_a_third_guest_that_is_private_to_it(self):
        """share=off: what it has not written yet is still read from the file."""
        source = self.boot()
        template = Path(f"/dev/shm/migrate-test-{os.getpid()}.template")
        template.write_bytes(b"t" * (256 << 20))
        self.addCleanup(template.unlink)
        third = self.boot(backend="private", extra=(
            "-object", f"memory-backend-file,id=x,size=256M,mem-path={template},share=off"))
        self.refuse(source, template, f"(pid {third.pid}) has it mapped")
        self.assertEqual(template.read_bytes(), b"t" * (256 << 20))
        self.check_unharmed(source, third)

    def test_a_guest_that_comes_while_the_receiver_waits(self):
        for turn in range(REPEATS):
            with self.subTest(turn=turn):
                source = self.boot()
                with vm.Qemu(IMAGE, incoming=True) as destination:
                    receiver = vm.Side(MIGRATE, "recv", "--listen", "127.0.0.1:0", "--sink",
                                       f"qemu:{destination.qmp_path}", "--listen-timeout", "120s")
                    self.addCleanup(receiver.end)
                    receiver.await_words("listening on ")
                    late = self.boot(memory_path=destination.memory)
                    sender = vm.Side(MIGRATE, "send", "--source", f"qemu:{source.qmp_path}", "--connect",
                                     receiver.words.split("listening on ")[1].split()[0])
                    self.addCleanup(sender.end)
                    self.assertNotEqual(sender.wait(), 0)
                    self.assertIn(f"(pid {late.pid}) has it mapped", sender.words)
                    self.check_unharmed(source, late)

    def test_a_guest_that_comes_while_memory_arrives(self):
        """Its memory is lost to the guest that arrives already; but that one must not go on in it, too."""
        for turn in range(REPEATS):
            with self.subTest(turn=turn):
                source = self.boot()
                with vm.Qemu(IMAGE, incoming=True) as destination:
                    migration = vm.Migration(MIGRATE, source, destination, FOLDER, "--max-bandwidth", "4M")
                    self.addCleanup(migration.end)
                    migration.receiver.await_words("connected: ")
                    late = vm.Qemu(IMAGE, memory_path=destination.memory)
                    self.addCleanup(late.kill)
                    self.assertNotEqual(migration.sender.wait(), 0)
                    self.assertNotEqual(migration.receiver.wait(), 0)
                    self.assertIn(f"(pid {late.pid}) has it mapped", migration.sender.words)
                    self.check_unharmed(source)

    def test_a_process_that_is_not_the_qemu_of_the_socket(self):
        third = self.boot()
        with vm.Qemu(IMAGE, incoming=True) as destination:
            done = subprocess.run([MIGRATE, "recv", "--listen", "127.0.0.1:0", "--sink",
                                   f"qemu:{destination.qmp_path},pid={third.pid}"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("is not the QEMU that answers on", done.stderr)
        self.check_unharmed(third)


if __name__ == "__main__":
    MIGRATE = sys.argv.pop(1)
    vm.require_guest()
    with tempfile.TemporaryDirectory() as folder:
        FOLDER, IMAGE = folder, vm.build_initramfs(folder)
        unittest.main()
