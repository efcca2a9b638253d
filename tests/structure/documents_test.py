#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents name nothing that is not there, and docs/options.md is what the option table gives.

MIGRATE_BINARY names the program that writes docs/options.md.
"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import document_rules as rules

PROJECT = Path(__file__).resolve().parents[2]


class Documents(unittest.TestCase):
    def test_keep_every_rule(self):
        self.assertEqual(rules.check_all(PROJECT), [])

    def test_are_found(self):
        """Guards against checks that pass because they look at nothing."""
        names = {page.relative_to(PROJECT).as_posix() for page in rules.pages(PROJECT)}
        self.assertLessEqual({"README.md", "CONTRIBUTING.md", "docs/architecture.md", "transport/PROTOCOL.md"}, names)
        text = (PROJECT / "docs" / "architecture.md").read_text()
        self.assertGreater(len(list(rules.named_paths(PROJECT, text))), 20)

    def test_the_path_of_a_page_goes_through_at_most_five_files_on_each_side(self):
        text = (PROJECT / "docs" / "architecture.md").read_text()
        for side in ("sender", "receiver"):
            row, = [line for line in text.splitlines() if line.startswith(f"| {side} | `engine/")]
            self.assertIn(len(list(rules.named_paths(PROJECT, row))), range(1, 6), row)

    def test_options_page_is_what_the_option_table_gives(self):
        binary = os.environ["MIGRATE_BINARY"]
        page = subprocess.run([binary, "options-markdown"], capture_output=True, text=True, check=True).stdout
        file = PROJECT / "docs" / "options.md"
        if not file.exists() or page != file.read_text():
            self.fail("docs/options.md differs from the option table. Write it again with this command:\n"
                      f"    {os.path.relpath(binary, PROJECT)} options-markdown >docs/options.md")


class WrongDocuments(unittest.TestCase):
    """Each test puts one fault into documents that are in order."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("src/engine/send_worker.hpp", "class SendWorker final {};\nenum class WorkState {};\n")
        self.write("scripts/test", "")
        self.write("configs/loopback.json", "{}")
        self.write("docs/architecture.md", "# Structure\n\n## The path of a page\n\n    SendWorker → wire\n")
        self.write("README.md", "# migrate\n\n```sh\n$ scripts/test --label unit\n```\n")
        self.assertEqual(rules.check_all(self.root), [])

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def add(self, path, text):
        file = self.root / path
        file.write_text(file.read_text() + text + "\n")

    def assert_found(self, *problems):
        self.assertEqual(rules.check_all(self.root), list(problems))

    def assert_names_missing(self, text, path):
        self.add("README.md", text)
        self.assert_found(f"README.md: names {path}, which does not exist")

    def test_a_missing_file_is_found(self):
        self.assert_names_missing("See `src/engine/recv_worker.hpp`.", "src/engine/recv_worker.hpp")

    def test_a_missing_file_in_a_folder_that_does_not_exist_is_found(self):
        self.assert_names_missing("See `motor/worker.cpp`.", "motor/worker.cpp")

    def test_a_missing_script_in_backticks_is_found_behind_its_arguments_too(self):
        self.assert_names_missing("Run `scripts/check --all`.", "scripts/check")

    def test_a_missing_script_in_a_block_is_found(self):
        self.assert_names_missing("```sh\n$ sudo scripts/check\n```", "scripts/check")

    def test_a_missing_script_in_a_block_of_a_list_is_found(self):
        self.assert_names_missing("1. Run this:\n   ```text\n   scripts/check\n   ```", "scripts/check")

    def test_a_missing_configuration_in_an_indented_block_is_found(self):
        self.assert_names_missing("As here:\n\n    migrate send --config configs/none.json\n", "configs/none.json")

    def test_a_path_without_suffix_or_without_src_is_accepted(self):
        self.add("README.md", "`engine/send_worker`, `src/engine`, `engine/send_worker.hpp`, `scripts/test`")
        self.assert_found()

    def test_the_fixed_part_of_a_path_with_a_placeholder_is_checked(self):
        self.add("README.md", "`docs/*.md`, `src/<folder>/<file>.cpp`")
        self.assert_found()
        self.assert_names_missing("`docs/pages/<name>.md`", "docs/pages")

    def test_words_with_slashes_that_are_no_paths_of_the_tree_are_left_alone(self):
        self.add("README.md", "`rate=MIB/s`, `/dev/dsa/wq0.0`, `build/dev/cli/migrate`, `~/.cache/migrate`, `../x/y`")
        self.assert_found()

    def test_a_link_to_a_missing_page_is_found(self):
        self.add("docs/architecture.md", "[results](results.md)")
        self.assert_found("docs/architecture.md: links to results.md, which does not exist")

    def test_a_link_to_a_missing_heading_is_found(self):
        self.add("README.md", "[path](docs/architecture.md#the-path-of-a-page) [gone](docs/architecture.md#gone)")
        self.assert_found("README.md: links to docs/architecture.md#gone, which is no heading of that page")

    def test_a_link_of_the_changelog_is_checked_and_its_paths_are_not(self):
        self.write("CHANGELOG.md", "`scripts/gone` is gone. [more](docs/more.md)\n")
        self.assert_found("CHANGELOG.md: links to docs/more.md, which does not exist")

    def test_a_type_that_is_not_declared_is_found_in_backticks_and_in_a_diagram(self):
        self.add("README.md", "`SendWorker`, `WorkState`, `SendWorker::run()` and `RecvWorker`; GitHub")
        self.add("docs/architecture.md", "    RecvChannel")
        self.assert_found("README.md: names the type RecvWorker, which no source declares",
                          "docs/architecture.md: names the type RecvChannel, which no source declares")


if __name__ == "__main__":
    unittest.main()
