# SPDX-License-Identifier: Apache-2.0
"""The limits that keep the engine readable: the size of its classes and sessions, and of every file.

Every check takes the root of a tree and returns what is wrong with it, one sentence each.
"""

import re
from collections import defaultdict
from pathlib import Path

import class_sizes
import project_rules

ENGINE = "src/engine"
MOST_PRIVATE_FUNCTIONS = 12
MOST_FIELDS = 15
SESSIONS = ("send/send_session", "recv/recv_session")
MOST_SESSION_LINES = 199
MOST_FILE_LINES = 499
DEFINITION = re.compile(r"^(?:[^\s#/][^;{}()=]*?\b)?(\w+)::~?\w+\(", re.MULTILINE)


def lines_of(path):
    return len(path.read_text().splitlines())


def check_classes(root):
    problems = []
    for path in project_rules.sources(root, ENGINE):
        for size in class_sizes.sizes_in(path.read_text()):
            where = f"{path.relative_to(root)}: {size.name}"
            if size.private_functions > MOST_PRIVATE_FUNCTIONS:
                problems.append(f"{where} has {size.private_functions} private functions; split it by responsibility")
            if size.fields > MOST_FIELDS and not size.is_plain:
                problems.append(f"{where} has {size.fields} fields; split it by responsibility")
    return problems


def check_spread(root):
    """A class that is defined in several files hides its size."""
    files = defaultdict(set)
    for path in project_rules.sources(root, ENGINE):
        if path.suffix == ".cpp":
            for name in DEFINITION.findall(class_sizes.plain_code(path.read_text())):
                files[name].add(path.relative_to(root).as_posix())
    return [f"{name} is defined in {', '.join(sorted(paths))}; make it several classes"
            for name, paths in sorted(files.items()) if len(paths) > 1]


def check_sessions(root):
    problems = []
    for session in SESSIONS:
        for suffix in (".hpp", ".cpp"):
            path = root / ENGINE / (session + suffix)
            if not path.exists():
                problems.append(f"{path.relative_to(root)}: no such file")
            elif lines_of(path) > MOST_SESSION_LINES:
                problems.append(f"{path.relative_to(root)}: has {lines_of(path)} lines; a session lists its phases")
    return problems


def check_file_lengths(root):
    paths = [path for _, path in project_rules.all_sources(root)]
    paths += [path for top in ("tests", "scripts") for path in (root / top).rglob("*")
              if path.suffix in project_rules.SOURCE_SUFFIXES | {".py"}]
    return [f"{path.relative_to(root)}: has {lines_of(path)} lines; make it two files by topic"
            for path in sorted(paths) if lines_of(path) > MOST_FILE_LINES]


CHECKS = (check_classes, check_spread, check_sessions, check_file_lengths)


def check_all(root):
    return [problem for check in CHECKS for problem in check(Path(root))]
