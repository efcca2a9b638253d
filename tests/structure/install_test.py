#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that `cmake --install` installs every file, and generated files are valid. Arguments: cmake, build folder."""

import importlib.util
import json
import os
import re
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
    "include/migrate/migrate.h",
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
    "share/doc/migrate/libmigrate.md",
    "share/man/man1/migrate.1",
    "share/man/man1/with-softdsa.1",
    "share/migrate/config.schema.json",
    "share/migrate/statistics.schema.json",
    "share/migrate/events.schema.json",
    "share/migrate/scenario.schema.json",
    "share/bash-completion/completions/migrate",
    "lib/systemd/system/migrate-recv@.service",
    "lib/systemd/system/migrate-recv@.socket",
    "share/ansible/collections/ansible_collections/migrate/hosts/playbooks/evacuate.yml",
    "share/doc/migrate/evacuation.md",
)


# A program that uses libmigrate, and its CMake project.
USER_C = """#include <migrate/migrate.h>
#include <stdio.h>

int main(void) {
    struct migrate_session *session = migrate_new(MIGRATE_RECV);
    printf("%s %d\\n", migrate_version(), migrate_open(session));
    migrate_free(session);
    return 0;
}
"""
USER_CMAKE = """cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(migrate 0.1 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE migrate::migrate)
"""


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

    def user_folder(self):
        """A folder with the sources of a program that uses the library, and the installed library's own."""
        library = next(self.root.rglob("libmigrate.so")).resolve()
        undefined = subprocess.run(["nm", "-D", "--undefined-only", library], check=True, capture_output=True, text=True)
        if re.search("__(asan|tsan)_", undefined.stdout):
            self.skipTest("a program without sanitizers cannot load the library")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "user.c").write_text(USER_C)
        Path(folder.name, "CMakeLists.txt").write_text(USER_CMAKE)
        return Path(folder.name), library.parent

    def assert_user_runs(self, program, libraries):
        done = subprocess.run([program], capture_output=True, text=True,
                              env=dict(os.environ, LD_LIBRARY_PATH=str(libraries)))
        # Without an option, the session is wrong usage.
        self.assertRegex(done.stdout, r"^\d+\.\d+\.\d+ 2\n$", done.stderr)

    def test_library_is_used_by_a_cmake_project(self):
        folder, libraries = self.user_folder()
        for command in ([self.cmake, "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={self.installed('')}"],
                        [self.cmake, "--build", folder / "build"]):
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assert_user_runs(folder / "build/user", libraries)

    @unittest.skipUnless(shutil.which("pkg-config") and shutil.which("cc"), "pkg-config or cc is not installed")
    def test_library_is_found_by_pkg_config(self):
        folder, libraries = self.user_folder()
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "migrate"], capture_output=True, text=True,
                               env=dict(os.environ, PKG_CONFIG_PATH=str(libraries / "pkgconfig")))
        self.assertEqual(flags.returncode, 0, flags.stderr)
        subprocess.run(["cc", "-o", folder / "user", folder / "user.c", *flags.stdout.split()], check=True)
        self.assert_user_runs(folder / "user", libraries)

    @unittest.skipUnless(importlib.util.find_spec("jsonschema"), "python3-jsonschema is not installed")
    def test_schema_agrees_with_the_program_about_configurations(self):
        import jsonschema
        schema = json.loads(self.installed("share/migrate/config.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        examples = self.installed("share/doc/migrate/examples")
        texts = [path.read_text() for path in examples.glob("*.json")]
        self.assertGreater(len(texts), 2)
        good = [re.sub(r"^\s*//.*$", "", text, flags=re.M) for text in texts]
        good += ['{"io-timeout": "5s", "devices": []}', '{"send": {"verify": "digest"}}', '{"send": {"multifd-channels": 8, "max-bandwidth": "200M"}}',
                 '{"send": {"multifd-channels": "auto", "zero-copy-send": true}}', '{"recv": {"sandbox": "off"}}',
                 '{"send": {"devices": ["sim:a", "sim:b"], "downtime-limit": "1s"}}']
        bad = ['[]', '{"no-such-option": 1}', '{"send": {"listen": "127.0.0.1:1"}}', '{"recv": {"connect": "a:1"}}',
               '{"send": {"verify": "never"}}', '{"send": {"multifd-channels": 256}}', '{"send": {"multifd-channels": true}}',
               '{"recv": {"sandbox": 1}}', '{"send": []}']
        for text, valid in [(text, True) for text in good] + [(text, False) for text in bad]:
            with self.subTest(text=text), tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "config.json")
                path.write_text(text)
                ends = [subprocess.run([self.installed("bin/migrate"), command, *options, "--config", path,
                                        "--print-config"], capture_output=True).returncode
                        for command, options in (("send", ["--connect", "a:1", "--source", "anon:4K"]),
                                                 ("recv", ["--listen", "a:1", "--sink", "null:"]))]
                self.assertEqual(validator.is_valid(json.loads(text)), valid)
                self.assertEqual(all(end == 0 for end in ends), valid)

    def test_command_of_the_service_is_one_that_the_program_accepts(self):
        unit = self.installed("lib/systemd/system/migrate-recv@.service").read_text()
        command = next(line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart="))
        words = command.replace("/etc/migrate/%i.json", "guest.json").split()
        self.assertEqual(words[0], "/usr/bin/migrate")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "guest.json").write_text('{"recv": {"sink": "null:"}}')
            done = subprocess.run([self.installed("bin/migrate"), *words[1:], "--print-config"], capture_output=True,
                                  text=True, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"listen": "systemd"', done.stdout)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_service_is_confined(self):
        unit = self.installed("lib/systemd/system/migrate-recv@.service")
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True)
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        if not found:
            self.skipTest(f"systemd-analyze cannot rate a file here: {done.stderr}")
        self.assertLessEqual(float(found.group(1)), 2.0)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_man_page_formats_without_a_warning(self):
        for name in ("migrate.1", "with-softdsa.1"):
            page = self.installed("share/man/man1") / name
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), name)

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
