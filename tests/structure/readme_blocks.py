# SPDX-License-Identifier: Apache-2.0
"""Reads the commands out of a Markdown page's fenced blocks and makes a bash script of each block.

In blocks fenced as sh, bash or console a line that begins with "$ " is a command, continued by lines after one that
ends in a backslash; a command that ends in "&" runs in the background until the block's end. Other lines are output.
HOST stands for another machine's name, here 127.0.0.1.

A comment <!-- not run: REASON --> on the line before a block, or a command out of NOT_RUN, leaves it to others.
"""

import re
import shlex
from dataclasses import dataclass, field

SHELL_FENCES = {"sh", "bash", "console"}
# Run by continuous integration and by scripts/try-in-bare-debian; they install packages and take minutes.
NOT_RUN = ("scripts/demo", "scripts/test", "scripts/install-dependencies", "scripts/try-in-bare-debian")
NOT_RUN_MARK = re.compile(r"^<!-- not run: (.+) -->$")


@dataclass
class Block:
    line: int  # of the opening fence
    commands: list = field(default_factory=list)
    reason_not_run: str = ""


class MarkdownError(Exception):
    pass


def shell_blocks(text):
    """Yields a Block for each block fenced as shell."""
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        fence = re.match(r"^```\s*(\w*)\s*$", lines[index])
        if not fence:
            index += 1
            continue
        end = next((i for i in range(index + 1, len(lines)) if lines[i].startswith("```")), None)
        if end is None:
            raise MarkdownError(f"line {index + 1}: the fence is never closed")
        if fence.group(1) in SHELL_FENCES:
            yield read_block(lines, index, end)
        index = end + 1


def read_block(lines, start, end):
    block = Block(start + 1)
    mark = NOT_RUN_MARK.match(lines[start - 1].strip()) if start else None
    if mark:
        block.reason_not_run = mark.group(1)
    index = start + 1
    while index < end:
        if lines[index].startswith("$ "):
            command = lines[index][2:].rstrip()
            while command.endswith("\\") and index + 1 < end:
                index += 1
                command = command[:-1] + lines[index].removeprefix("> ").strip()
            block.commands.append(command)
        index += 1
    if not block.commands:
        raise MarkdownError(f'line {start + 1}: the block has no command; one begins with "$ "')
    return block


def is_left_to_others(command):
    words = command.removeprefix("sudo ").split()
    return bool(words) and words[0].removeprefix("./") in NOT_RUN


# Waits until a receiver in the background has said that it listens, or has ended.
PREAMBLE = r"""
set -euo pipefail
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done' EXIT
await_listener() {
    for _ in $(seq 200); do
        if grep -q 'listening on' "$1"; then return; fi
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done
    cat "$1" >&2
    echo 'the command in the background never said "listening on"' >&2
    exit 1
}
"""


def script_of(block):
    """A bash script that runs a block's commands in order and fails if one fails."""
    lines = [PREAMBLE]
    for number, command in enumerate(block.commands):
        if is_left_to_others(command):
            continue
        command = re.sub(r"\bHOST\b", "127.0.0.1", command)
        lines.append(f"printf '$ %s\\n' {shlex.quote(command)}")
        if command.endswith("&") and not command.endswith("&&"):
            log = f".background-{block.line}-{number}.log"
            # exec: the process to wait for and to end is the command, not a shell around it.
            lines.append(f"(exec {command[:-1].strip()}) >{log} 2>&1 &")
            lines.append("pids+=($!)")
            if re.search(r"--listen|\bmigrate recv\b", command):
                lines.append(f"await_listener {log} $!")
        else:
            lines.append(command)
    lines.append('for pid in "${pids[@]}"; do wait "$pid" || { cat .background-*.log >&2; exit 1; }; done')
    lines.append("pids=()")
    return "\n".join(lines) + "\n"
