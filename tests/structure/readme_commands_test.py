#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every command in README.md, CONTRIBUTING.md and docs works as written, with the binary that MIGRATE_BINARY names."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import document_rules
import readme_blocks

PROJECT = Path(__file__).resolve().parents[2]
BLOCK_TIMEOUT_S = 120


def run_block(block, folder, environment):
    """Runs a block's script in `folder`; the processes it leaves end with it."""
    with subprocess.Popen(["bash", "-c", readme_blocks.script_of(block)], cwd=folder, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
        try:
            output, _ = process.communicate(timeout=BLOCK_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, _ = process.communicate()
            output += f"\nnot done after {BLOCK_TIMEOUT_S} s"
            return 1, output
        return process.returncode, output


def scratch_environment(folder):
    """The folder as a user of the checkout sees it: its scripts, configs and docs, and migrate on the PATH."""
    for name in ("scripts", "configs", "docs"):
        os.symlink(PROJECT / name, Path(folder) / name)
    path = f"{Path(os.environ['MIGRATE_BINARY']).parent}:{os.environ['PATH']}"
    return dict(os.environ, PATH=path, TMPDIR=folder)


class Readme(unittest.TestCase):
    def test_every_command_works(self):
        for page in document_rules.pages(PROJECT):
            name = page.relative_to(PROJECT)
            with self.subTest(str(name)), tempfile.TemporaryDirectory() as folder:
                environment = scratch_environment(folder)
                for block in readme_blocks.shell_blocks(page.read_text()):
                    if block.reason_not_run:
                        print(f"{name}:{block.line}: not run: {block.reason_not_run}")
                        continue
                    status, output = run_block(block, folder, environment)
                    print(f"{name}:{block.line}: exit code {status}\n{output}")
                    self.assertEqual(status, 0, f"{name}:{block.line}: {block.commands}\n{output}")

    def test_exit_codes_are_the_programs_own(self):
        table = subprocess.run([os.environ["MIGRATE_BINARY"], "exit-codes-markdown"], capture_output=True, text=True,
                               check=True).stdout
        self.assertIn(table, (PROJECT / "README.md").read_text(),
                      "put the output of `migrate exit-codes-markdown` in place of README.md's exit codes")

    def test_has_the_two_commands(self):
        commands = [command for block in readme_blocks.shell_blocks((PROJECT / "README.md").read_text())
                    for command in block.commands]
        self.assertIn("scripts/demo", commands)
        self.assertIn("scripts/test", commands)


class Blocks(unittest.TestCase):
    """The reader itself, over made-up pages."""

    def run_page(self, page):
        with tempfile.TemporaryDirectory() as folder:
            results = [run_block(block, folder, dict(os.environ)) for block in readme_blocks.shell_blocks(page)]
        return results

    def test_commands_run_in_order_in_one_folder(self):
        page = "```sh\n$ echo one >file\n```\ntext\n```console\n$ cat file \\\n>   file\none\none\n```\n"
        (first, _), (second, output) = self.run_page(page)
        self.assertEqual((first, second), (0, 0))
        self.assertIn("one\none\n", output)

    def test_failing_command_fails_its_block(self):
        self.assertNotEqual(self.run_page("```bash\n$ false\n$ true\n```\n")[0][0], 0)

    def test_failing_background_command_fails_its_block(self):
        self.assertNotEqual(self.run_page("```sh\n$ sh -c 'exit 3' &\n$ true\n```\n")[0][0], 0)

    def test_listener_in_the_background_is_awaited(self):
        page = ("```sh\n$ sh -c 'sleep 0.2; echo listening on HOST:1; touch up' --listen &\n$ ls\n```\n")
        self.assertEqual(self.run_page(page)[0][0], 0)

    def test_listener_that_ends_early_fails_its_block(self):
        status, output = self.run_page("```sh\n$ sh -c 'echo no port' --listen &\n$ true\n```\n")[0]
        self.assertNotEqual(status, 0)
        self.assertIn("no port", output)

    def test_host_is_this_machine(self):
        self.assertIn("to 127.0.0.1:4444", self.run_page("```sh\n$ echo to HOST:4444\n```\n")[0][1])

    def test_block_without_a_command_is_refused(self):
        with self.assertRaises(readme_blocks.MarkdownError):
            list(readme_blocks.shell_blocks("```sh\necho forgotten dollar\n```\n"))

    def test_other_fences_are_text(self):
        self.assertEqual(list(readme_blocks.shell_blocks("```json\n{}\n```\n```\n$ ls\n```\n")), [])

    def test_mark_and_long_scripts_are_left_to_others(self):
        block, = readme_blocks.shell_blocks("<!-- not run: needs two hosts -->\n```sh\n$ ls\n```\n")
        self.assertEqual(block.reason_not_run, "needs two hosts")
        self.assertTrue(readme_blocks.is_left_to_others("sudo scripts/demo"))
        self.assertFalse(readme_blocks.is_left_to_others("scripts/demonstrate"))


if __name__ == "__main__":
    unittest.main()
