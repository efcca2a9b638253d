# SPDX-License-Identifier: Apache-2.0
"""The rules about how the project's files are laid out and which folder may know which.

Every check takes the root of a tree and returns what is wrong with it, one sentence each, so that it can be run over
made-up trees as well as over the project.
"""

import re
import subprocess
from pathlib import Path

# Folder: the folders it may include from, beside itself. "A folder" is the longest key its path begins with.
MAY_INCLUDE = {
    "src/base": set(),
    "src/qmp": {"src/base"},
    "accel": {"src/base"},
    "memory": {"src/base"},
    "transport": {"src/base"},
    "src/devices": {"src/base"},
    "src/guest": {"src/base", "src/qmp", "memory"},
    "src/engine": {"src/base", "accel", "memory", "transport", "src/devices", "src/guest"},
    "src/lib": {"src/base", "memory", "transport", "src/guest", "src/engine"},
    "src/bench": {"src/base", "memory", "src/qmp"},
    "cli": {"src/base", "src/qmp", "accel", "memory", "transport", "src/devices", "src/guest", "src/engine",
            "src/bench"},
}
TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "src", "transport", "memory", "accel", "cli", "tests", "configs",
    "README.md", "contrib", "scripts", "docs", "cmake", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", ".ci", ".clang-format",
    ".clang-tidy", ".gitignore",
}
SOURCE_SUFFIXES = {".cpp", ".hpp", ".h", ".c", ".cc"}
HEADER_SUFFIXES = {".hpp", ".h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
FIRST_DIRECTIVE = re.compile(r"^\s*#\s*(.*?)\s*$", re.MULTILINE)
RAW_SYSCALL_HEADER = "src/base/raw_syscall.hpp"
THREAD_FILES = {"src/base/thread.hpp", "src/base/thread.cpp"}
BARE_THREAD = re.compile(r"\bstd::(?:j?thread\b(?!::)|async\b)")
WAIT_FILE = "src/base/wait.cpp"
BARE_WAIT = re.compile(r"(?<!\w)::(?:p?poll|p?select|epoll_p?wait)\s*\(")
MUTEX_FILE = "src/base/mutex.hpp"
MUTEX_DECLARATION = re.compile(r"^\s*(?:mutable |static )*Mutex (\w+);(.*)$", re.MULTILINE)
BARE_MUTEX = re.compile(r"\bstd::(?:\w*mutex|condition_variable\w*|scoped_lock|unique_lock|lock_guard|shared_lock)\b")
BARE_SYSCALL = re.compile(r"(?<!\w)syscall\s*\(")
SEED_FILE = "tests/support/seed.hpp"
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENSED_SUFFIXES = SOURCE_SUFFIXES | {".py", ".cmake", ".sh", ".service", ".socket", ".map"}
LINKED = re.compile(r"\bmigrate_(\w+)\b")


def sources(root, folder):
    return sorted(path for path in (root / folder).rglob("*") if path.suffix in SOURCE_SUFFIXES)


def all_sources(root):
    """(folder, file) for every source of the program; a file in no known folder belongs to None."""
    for top in ("src", "accel", "memory", "transport", "cli"):
        for path in sources(root, top):
            relative = path.relative_to(root).as_posix()
            yield next((f for f in MAY_INCLUDE if relative.startswith(f + "/")), None), path


def folder_included(root, name, quoted):
    """The folder that an include names, "tests" for a test's, None if it is not one of the project's."""
    first = name.split("/")[0]
    if first in (".", ".."):
        return None
    if "/" in name:
        for folder in MAY_INCLUDE:
            if folder == first or folder == f"src/{first}":
                # <memory/x> would be the project's too, if there is such a file.
                if quoted or (root / folder / name.split("/", 1)[1]).exists():
                    return folder
    if first == "tests" or (quoted and (root / "tests" / name).exists()):
        return "tests"
    return None


def check_includes(root):
    problems = []
    for folder, path in all_sources(root):
        where = path.relative_to(root)
        if folder is None:
            problems.append(f"{where}: is in none of the folders {', '.join(MAY_INCLUDE)}")
            continue
        for bracket, name in INCLUDE.findall(path.read_text()):
            target = folder_included(root, name, bracket == '"')
            if target is None and bracket == '"':
                problems.append(f'{where}: "{name}" is no path from the root or from src')
            elif target is not None and target != folder and target not in MAY_INCLUDE[folder]:
                problems.append(f"{where}: {folder} may not include {target} ({name})")
    return problems


def check_linked_libraries(root):
    """The libraries a folder's CMakeLists.txt names keep to the same directions."""
    problems = []
    libraries = {folder.split("/")[-1]: folder for folder in MAY_INCLUDE}
    for folder, allowed in MAY_INCLUDE.items():
        listing = root / folder / "CMakeLists.txt"
        if not listing.exists():
            continue
        for name in LINKED.findall(listing.read_text()):
            target = libraries.get(name)
            if target and target != folder and target not in allowed:
                problems.append(f"{folder}/CMakeLists.txt: {folder} may not link migrate_{name}")
    return problems


def check_listed(root):
    """Every .cpp file is built: one that is forgotten would be checked by nothing."""
    problems = []
    for folder, path in all_sources(root):
        if folder is None or path.suffix in HEADER_SUFFIXES:
            continue
        listing = root / folder / "CMakeLists.txt"
        name = path.relative_to(root / folder).as_posix()
        words = re.split(r"[\s()]+", listing.read_text()) if listing.exists() else []
        if name not in words:
            problems.append(f"{path.relative_to(root)}: is not listed in {folder}/CMakeLists.txt")
    return problems


def check_pragma_once(root):
    problems = []
    headers = [path for _, path in all_sources(root)] + sources(root, "tests")
    for path in headers:
        if path.suffix in HEADER_SUFFIXES:
            first = FIRST_DIRECTIVE.search(path.read_text())
            if not first or first.group(1) != "pragma once":
                problems.append(f"{path.relative_to(root)}: does not begin with #pragma once")
    return problems


def check_raw_system_calls(root):
    """syscall() takes an int where the kernel reads a long; base/raw_syscall.hpp alone calls it, and widens."""
    problems = []
    for path in [path for _, path in all_sources(root)] + sources(root, "tests"):
        where = path.relative_to(root)
        if where.as_posix() == RAW_SYSCALL_HEADER:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if BARE_SYSCALL.search(line.split("//")[0]):
                problems.append(f"{where}:{number}: calls syscall(); use raw_syscall() of base/raw_syscall.hpp")
    return problems


def check_threads(root):
    """A thread of the standard library throws where it cannot be started, and an exception in one ends the program."""
    problems = []
    for _, path in all_sources(root):
        where = path.relative_to(root)
        if where.as_posix() in THREAD_FILES:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if BARE_THREAD.search(line.split("//")[0]):
                problems.append(f"{where}:{number}: starts a thread by itself; use Thread of base/thread.hpp")
    return problems


def check_waits(root):
    """Each poll loop would handle signals, deadlines and stops on its own; base/wait.hpp does it for all of them."""
    problems = []
    for _, path in all_sources(root):
        where = path.relative_to(root)
        if where.as_posix() == WAIT_FILE:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if BARE_WAIT.search(line.split("//")[0]):
                problems.append(f"{where}:{number}: waits for a descriptor by itself; use base/wait.hpp")
    return problems


def check_test_helpers(root):
    """What several folders of tests share is in tests/support, where the next one finds it."""
    problems = []
    for path in sources(root, "tests"):
        where = path.relative_to(root)
        own = where.parts[1]
        for _, name in INCLUDE.findall(path.read_text()):
            inside = name.removeprefix("tests/")
            folder = inside.split("/")[0]
            if "/" in inside and folder not in (own, "support") and (root / "tests" / inside).exists():
                problems.append(f"{where}: includes {inside}, a helper of tests/{folder}; move it to tests/support")
    return problems


def check_test_seeds(root):
    """A test with a new seed in each run fails where nobody can repeat it."""
    problems = []
    for path in sources(root, "tests"):
        where = path.relative_to(root)
        if where.as_posix() != SEED_FILE and "random_device" in path.read_text():
            problems.append(f"{where}: draws its seed by itself; use test_seed() of tests/support/seed.hpp")
    return problems


def check_mutexes(root):
    """clang cannot check the guards of a mutex of the standard library, or of one that names no member."""
    problems = []
    for _, path in all_sources(root):
        where = path.relative_to(root).as_posix()
        if where == MUTEX_FILE:
            continue
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            if BARE_MUTEX.search(line.split("//")[0]):
                problems.append(f"{where}:{number}: uses an unchecked mutex; use base/mutex.hpp")
        for name, comment in MUTEX_DECLARATION.findall(text):
            if f"GUARDED_BY({name})" not in text and "guards no data" not in comment:
                problems.append(f"{where}: nothing is GUARDED_BY({name}); if it guards no data, say so behind it")
    return problems


def top_level_entries(root):
    """Returns the top-level names that git tracks; without git or a repository, all but build folders."""
    try:
        tracked = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True, text=True)
        names = {name.split("/")[0] for name in tracked.stdout.split("\0") if name}
        if names and (root / ".git").exists():
            return names
    except (OSError, subprocess.CalledProcessError):
        pass
    return {path.name for path in root.iterdir()} - {".git", "build", "CMakeUserPresets.json", "compile_commands.json"}


def check_top_level(root):
    strangers = {name for name in top_level_entries(root) - TOP_LEVEL if not name.startswith("build-")}
    return [f"{name}: does not belong at the top level" for name in sorted(strangers)]


CHECKS = (check_includes, check_linked_libraries, check_listed, check_pragma_once, check_raw_system_calls, check_threads,
          check_waits, check_mutexes, check_test_helpers, check_test_seeds, check_top_level)


def check_all(root):
    return [problem for check in CHECKS for problem in check(Path(root))]


def check_licences(root):
    """Every source and script names its licence at its beginning."""
    problems = []
    for name in sorted(TOP_LEVEL):
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if not path.is_file() or path.is_symlink():
                continue
            if path.suffix not in LICENSED_SUFFIXES and path.name != "CMakeLists.txt" and path.suffix != "":
                continue
            with open(path, "rb") as file:
                begin = file.read(400)
            is_script = path.suffix != "" or begin.startswith(b"#!")
            if is_script and LICENCE.encode() not in begin:
                problems.append(f"{path.relative_to(root)}: its first line, or the one after #!, has to be '{LICENCE}'")
    return problems
