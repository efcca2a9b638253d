#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang refuses code that uses a guarded member without its mutex. The compiler is the first argument."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPILER = sys.argv.pop(1)

LOCK = "migrate::MutexLock lock(mutex_); "
ADOPT = "migrate::MutexLock lock(mutex_, std::adopt_lock); "
WAIT = LOCK + "changed_.wait(lock, [this]%s { return value_ > 0; });"
STOP_WAIT = LOCK + "stopped_.wait(lock, stop, [this]%s { return value_ > 0; });"
REQUIRES = "() REQUIRES(mutex_)"
# Rule: a body that keeps it, and one that breaks it.
BODIES = {
    "a guarded member needs its mutex": (LOCK + "++value_;", "++value_;"),
    "a function that requires a mutex needs it": (LOCK + "step();", "step();"),
    "an unlocked mutex is not held": (LOCK + "lock.unlock(); lock.lock(); step();", LOCK + "lock.unlock(); step();"),
    "a mutex that may not be locked is not held": (
        "if (!mutex_.try_lock()) return; " + ADOPT + "step();", "(void)mutex_.try_lock(); step();"),
    "a predicate states what it requires": (WAIT % REQUIRES, WAIT % ""),
    "so does the predicate of a wait that a stop ends": (STOP_WAIT % REQUIRES, STOP_WAIT % ""),
}
CODE = """#include "base/mutex.hpp"
struct Counter {
    void step() REQUIRES(mutex_) { ++value_; }
    migrate::Mutex mutex_;
    migrate::Condition changed_;
    migrate::StopCondition stopped_;
    int value_ GUARDED_BY(mutex_) = 0;
"""


def messages():
    """What clang says about each body, by its rule and its place there. All are compiled at once, one on a line."""
    places = [(rule, place) for rule in BODIES for place in (0, 1)]
    lines = [f"    void use_{number}([[maybe_unused]] const std::stop_token& stop) {{ {BODIES[rule][place]} }}"
             for number, (rule, place) in enumerate(places)]
    result = subprocess.run([COMPILER, "-std=c++20", "-I", str(ROOT / "src"), "-Wthread-safety",
                             "-Werror=thread-safety", "-ferror-limit=0", "-fsyntax-only", "-x", "c++", "-"],
                            input=CODE + "\n".join(lines) + "\n};\n", capture_output=True, text=True)
    first = CODE.count("\n") + 1
    said = {place: "" for place in places}
    for line, text in re.findall(r"^<stdin>:(\d+):\d+: error: (.*)$", result.stderr, re.MULTILINE):
        said[places[int(line) - first]] += text
    return said


class UnguardedUse(unittest.TestCase):
    def test_clang_refuses_it_and_nothing_else(self):
        for (rule, place), said in messages().items():
            with self.subTest(rule, keeps_it=place == 0):
                if place == 0:
                    self.assertEqual(said, "")
                else:
                    self.assertIn("mutex", said)


if __name__ == "__main__":
    unittest.main()
