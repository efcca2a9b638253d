# SPDX-License-Identifier: Apache-2.0
"""The rules of the project's documents: what they name exists, and what they link to is there.

Every check takes the root of a tree and returns what is wrong with it, one sentence each, so that it can be run over
made-up trees as well as over the project.
"""

import re
from pathlib import Path

CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*```")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
# A placeholder ends the part of a path that can be checked: tests/<folder>/<file>_test.cpp, docs/*.md, mem-path=…
PLACEHOLDER = re.compile(r"[<>*{}$…]")
SCRIPT_OR_CONFIG = re.compile(r"(?<![\w/.-])(?:scripts|configs)/[\w./-]*\w")
TYPE_NAME = re.compile(r"\b[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+\b")
DECLARATION = re.compile(r"\b(?:class|struct|union|concept|using|enum(?: class)?)\s+(?:\[\[\w+\]\]\s*)?(\w+)")
# A document names a file with or without the suffix.
SUFFIXES = ("", ".hpp", ".cpp", ".h", ".py")
FILE_SUFFIXES = (".cpp", ".hpp", ".py", ".md", ".cmake")
SOURCE_FOLDERS = ("src", "accel", "memory", "transport", "cli", "tests")
NOT_IN_THE_TREE = {"build"}


def pages(root):
    """The documents that describe the tree as it is. A changelog may name what is gone."""
    found = [root / "README.md", root / "CONTRIBUTING.md", root / "transport" / "PROTOCOL.md"]
    return [page for page in found if page.exists()] + sorted((root / "docs").glob("*.md"))


def split_code(text):
    """(prose, code): the lines outside and inside of blocks, fenced or indented by four blanks after an empty line."""
    prose, code = [], []
    fenced = indented = False
    previous = ""
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif fenced:
            code.append(line)
        else:
            indented = line.startswith("    ") and (indented or not previous.strip())
            (code if indented else prose).append(line)
        previous = line
    return "\n".join(prose), "\n".join(code)


def is_path_of_the_tree(root, word):
    first = word.split("/")[0]
    if "/" not in word or first in NOT_IN_THE_TREE or not re.fullmatch(r"[\w./-]+", word):
        return False
    known = (root / first).is_dir() or (root / "src" / first).is_dir()
    return bool(first.strip(".")) and (known or word.endswith(FILE_SUFFIXES))


def exists(root, path):
    return any((base / (path.rstrip("/") + suffix)).exists() for base in (root, root / "src") for suffix in SUFFIXES)


def named_paths(root, text):
    """The paths of the tree that a page names in backticks, and the scripts and configurations in its blocks."""
    prose, code = split_code(text)
    for span in CODE_SPAN.findall(prose):
        word = span.split()[0] if span.split() else ""
        match = PLACEHOLDER.search(word)
        if match:
            word = word[:match.start()].rpartition("/")[0]
        word = word.rstrip(",:;")
        if is_path_of_the_tree(root, word):
            yield word
    yield from SCRIPT_OR_CONFIG.findall(code)


def check_paths(root):
    problems = []
    for page in pages(root):
        for path in named_paths(root, page.read_text()):
            if not exists(root, path):
                problems.append(f"{page.relative_to(root)}: names {path}, which does not exist")
    return problems


def anchor_of(heading):
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def check_links(root):
    problems = []
    changelog = root / "CHANGELOG.md"
    for page in pages(root) + ([changelog] if changelog.exists() else []):
        prose, _ = split_code(page.read_text())
        for target in LINK.findall(CODE_SPAN.sub("", prose)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            if not file.exists():
                problems.append(f"{page.relative_to(root)}: links to {target}, which does not exist")
            elif anchor and anchor not in map(anchor_of, HEADING.findall(file.read_text())):
                problems.append(f"{page.relative_to(root)}: links to {target}, which is no heading of that page")
    return problems


def declared_types(root):
    names = set()
    for folder in SOURCE_FOLDERS:
        for path in (root / folder).rglob("*.[ch]pp"):
            names.update(DECLARATION.findall(path.read_text()))
    return names


def check_types(root):
    """The types that a page names in backticks, and those in the diagrams of docs/architecture.md, are declared."""
    problems = []
    declared = declared_types(root)
    for page in pages(root):
        prose, code = split_code(page.read_text())
        where = page.relative_to(root)
        named = [name for span in CODE_SPAN.findall(prose) if re.match(r"[\w:<>() ]+$", span)
                 for name in TYPE_NAME.findall(span)]
        if where.as_posix() == "docs/architecture.md":
            named += TYPE_NAME.findall(code)
        problems += [f"{where}: names the type {name}, which no source declares"
                     for name in dict.fromkeys(named) if name not in declared]
    return problems


CHECKS = (check_paths, check_links, check_types)


def check_all(root):
    return [problem for check in CHECKS for problem in check(Path(root))]
