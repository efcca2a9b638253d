#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libmigrate.so shows the functions of its header, with versions, and nothing else. Argument: the library."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = HERE.parents[1] / "src/lib/migrate/migrate.h"


class Symbols(unittest.TestCase):
    library = ""

    def test_are_those_of_the_list(self):
        """A symbol that goes, or changes its version, breaks programs that were linked with it."""
        lines = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", self.library], check=True,
                               capture_output=True, text=True).stdout.splitlines()
        found = sorted(line.split()[-1] for line in lines if " A " not in line)
        self.assertEqual(found, (HERE / "symbols.txt").read_text().split())

    def test_are_those_that_the_header_declares(self):
        declared = re.findall(r"^MIGRATE_API [^(]*?\b(migrate_\w+)\(", HEADER.read_text(), re.MULTILINE)
        listed = [line.split("@")[0] for line in (HERE / "symbols.txt").read_text().split()]
        self.assertEqual(sorted(declared), listed)

    def test_code_in_the_document_is_that_of_the_example(self):
        example = (HERE / "example_vmm.c").read_text()
        blocks = re.findall(r"^```c\n(.*?)^```", (HERE.parents[1] / "docs/libmigrate.md").read_text(), re.M | re.S)
        self.assertGreater(len(blocks), 3)
        for block in blocks:
            self.assertIn(block, example)

    def test_library_has_a_versioned_name(self):
        dynamic = subprocess.run(["readelf", "-d", self.library], check=True, capture_output=True, text=True).stdout
        self.assertRegex(dynamic, r"SONAME.*\[libmigrate\.so\.\d+\.\d+\]")


if __name__ == "__main__":
    Symbols.library = sys.argv.pop()
    unittest.main()
