#!/usr/bin/env python3
"""Checks that `cmake --install` installs every file, and generated files are valid. Arguments: cmake, build folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PREFIX = "usr"
EXPECTED = (
    "bin/migrate",
    "bin/with-softdsa",
    "lib/migrate/libsoftdsa-preload.so",
    "share/doc/migrate/LICENSE",
    "share/doc/migrate/README.md",
    "share/doc/migrate/CHANGELOG.md",
    "share/doc/migrate/PROTOCOL.md",
    "share/doc/migrate/architecture.md",
    "share/doc/migrate/options.md",
    "share/doc/migrate/softdsa.md",
    "share/doc/migrate/examples/loopback.json",
    "share/doc/migrate/examples/scenarios/dsa-50.json",
    "share/doc/migrate/bench.md",
    "share/man/man1/migrate.1",
    "share/bash-completion/completions/migrate",
)


class Install(unittest.TestCase):
    cmake = ""
    build = ""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = Path(folder.name)
        subprocess.run([cls.cmake, "--install", cls.build, "--prefix", f"/{PREFIX}"], check=True,
                       stdout=subprocess.DEVNULL, env=dict(os.environ, DESTDIR=folder.name))

    def installed(self, name):
        return self.root / PREFIX / name

    def test_everything_is_in_its_place(self):
        missing = [name for name in EXPECTED if not self.installed(name).is_file()]
        self.assertEqual(missing, [])

    def test_installed_binary_runs(self):
        done = subprocess.run([self.installed("bin/migrate"), "--help"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("migrate send", done.stdout)

    def test_binary_alone_has_its_scenarios(self):
        with tempfile.TemporaryDirectory() as folder:
            binary = shutil.copy(self.installed("bin/migrate"), folder)
            done = subprocess.run([binary, "bench", "--list"], capture_output=True, text=True, cwd="/")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("dsa-50", done.stdout)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_man_page_formats_without_a_warning(self):
        page = self.installed("share/man/man1/migrate.1")
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_completion_offers_options(self):
        completion = self.installed("share/bash-completion/completions/migrate")
        script = (f'. {completion}; COMP_WORDS=(migrate send --multifd-ch); COMP_CWORD=2; _migrate; '
                  'echo "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        self.assertIn("--multifd-channels", done.stdout, done.stderr)


if __name__ == "__main__":
    Install.build = sys.argv.pop()
    Install.cmake = sys.argv.pop()
    unittest.main()
