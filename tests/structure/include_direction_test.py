#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The project keeps to its layout and to the directions of its includes; and the rules find a tree that does not."""

import tempfile
import unittest
from pathlib import Path

import project_rules as rules

PROJECT = Path(__file__).resolve().parents[2]


class Project(unittest.TestCase):
    def test_keeps_every_rule(self):
        self.assertEqual(rules.check_all(PROJECT), [])

    def test_names_its_licence_in_every_source(self):
        self.assertEqual(rules.check_licences(PROJECT), [])

    def test_has_sources_in_every_folder_that_exists(self):
        """Guards against checks that pass because they look at nothing."""
        for folder in ("src/base", "src/qmp", "accel", "memory", "transport", "src/devices", "src/guest", "src/engine",
                       "src/lib", "src/bench", "cli"):
            self.assertTrue(rules.sources(PROJECT, folder), folder)


class WrongTree(unittest.TestCase):
    """Each test puts one fault into a tree that is in order."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for name in ("src/base", "src/qmp", "accel", "memory", "transport", "src/devices", "src/guest", "src/engine",
                     "src/lib", "src/bench", "cli"):
            stem = name.split("/")[-1]
            self.write(f"{name}/{stem}.hpp", f"// Job.\n#pragma once\n#include <vector>\n")
            self.write(f"{name}/{stem}.cpp", f'#include "{stem}/{stem}.hpp"\n')
            self.write(f"{name}/CMakeLists.txt", f"migrate_library({stem}\n    {stem}.cpp)\n")
        self.write("tests/catch.hpp", "#pragma once\n")
        self.assertEqual(rules.check_all(self.root), [])

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def add(self, path, line):
        file = self.root / path
        file.write_text(file.read_text() + line + "\n")

    def assert_found(self, *problems):
        self.assertEqual(rules.check_all(self.root), list(problems))

    def assert_include_refused(self, folder, name, target):
        path = f"{folder}/{folder.split('/')[-1]}.cpp"
        self.add(path, f'#include "{name}"')
        self.assert_found(f"{path}: {folder} may not include {target} ({name})")

    def test_a_source_without_a_licence_is_found(self):
        self.write("scripts/run", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n")
        self.write("scripts/walk", "#!/bin/sh\n")
        self.write("docs/page.md", "# Page\n")
        found = rules.check_licences(self.root)
        self.assertIn("scripts/walk: its first line, or the one after #!, has to be "
                      "'SPDX-License-Identifier: Apache-2.0'", found)
        self.assertFalse([problem for problem in found if problem.startswith(("scripts/run", "docs/"))])

    def test_a_bare_system_call_is_found_in_the_program_and_in_tests(self):
        self.add("accel/accel.cpp", "long pid() { return ::syscall(SYS_getpid); }")
        self.write("tests/accel/accel_test.cpp", "long pid = syscall (SYS_getpid);\n")
        self.assert_found("accel/accel.cpp:2: calls syscall(); use raw_syscall() of base/raw_syscall.hpp",
                          "tests/accel/accel_test.cpp:1: calls syscall(); use raw_syscall() of base/raw_syscall.hpp")

    def test_raw_syscall_and_what_a_comment_says_are_no_bare_system_calls(self):
        self.add("accel/accel.cpp", "long pid() { return raw_syscall(SYS_getpid); }  // syscall() is variadic")
        self.assert_found()

    def test_a_thread_that_is_not_started_by_the_wrapper_is_found(self):
        self.add("accel/accel.cpp", "std::jthread thread([] {});")
        self.add("memory/memory.cpp", "const unsigned cpus = std::thread::hardware_concurrency();  // std::thread")
        self.assert_found("accel/accel.cpp:2: starts a thread by itself; use Thread of base/thread.hpp")

    def test_a_helper_that_another_folder_of_tests_uses_is_found(self):
        self.write("tests/memory/pages.hpp", "#pragma once\n")
        self.write("tests/support/pipe.hpp", "#pragma once\n")
        self.write("tests/memory/memory_test.cpp", '#include "tests/memory/pages.hpp"\n#include "memory/pages.hpp"\n')
        self.write("tests/accel/accel_test.cpp",
                   '#include "tests/support/pipe.hpp"\n#include "memory/memory.hpp"\n#include "memory/pages.hpp"\n')
        self.assert_found("tests/accel/accel_test.cpp: includes memory/pages.hpp, a helper of tests/memory; "
                          "move it to tests/support")

    def test_a_seed_that_is_new_in_each_run_is_found(self):
        self.write("tests/support/seed.hpp", "#pragma once\nunsigned seed = std::random_device{}();\n")
        self.write("tests/accel/accel_test.cpp", "std::random_device seed;\n")
        self.assert_found("tests/accel/accel_test.cpp: draws its seed by itself; use test_seed() of tests/support/seed.hpp")

    def test_a_poll_loop_outside_the_wait_helper_is_found(self):
        self.write("src/base/wait.cpp", "int ready = ::ppoll(polled, count, &time, nullptr);\n")
        self.add("src/base/CMakeLists.txt", "target_sources(migrate_base PRIVATE wait.cpp)")
        self.add("accel/accel.cpp", "int ready = ::poll(polled, count, -1);  // poll(2)")
        self.add("memory/memory.cpp", "Completion::poll(); queue.poll(); poll();")
        self.assert_found("accel/accel.cpp:2: waits for a descriptor by itself; use base/wait.hpp")

    def test_a_mutex_of_the_standard_library_is_found(self):
        self.add("memory/memory.cpp", "std::mutex mutex;  // guards it")
        self.add("transport/transport.cpp", "const std::scoped_lock lock(mutex);")
        self.add("cli/cli.cpp", "const MutexLock lock(mutex);  // std::mutex")
        self.assert_found("memory/memory.cpp:2: uses an unchecked mutex; use base/mutex.hpp",
                          "transport/transport.cpp:2: uses an unchecked mutex; use base/mutex.hpp")

    def test_a_mutex_that_guards_no_member_is_found(self):
        self.add("memory/memory.hpp", "Mutex mutex_;\nint count_ GUARDED_BY(mutex_) = 0;\nMutex bus_;  // guards no data")
        self.add("cli/cli.hpp", "    mutable Mutex mutex_;\n    int count_ = 0;  // guarded by mutex_")
        self.assert_found("cli/cli.hpp: nothing is GUARDED_BY(mutex_); if it guards no data, say so behind it")

    def test_accel_may_not_include_memory(self):
        self.assert_include_refused("accel", "memory/memory.hpp", "memory")

    def test_memory_may_not_include_transport(self):
        self.assert_include_refused("memory", "transport/transport.hpp", "transport")

    def test_transport_may_not_include_accel(self):
        self.assert_include_refused("transport", "accel/accel.hpp", "accel")

    def test_memory_may_not_include_the_engine(self):
        self.assert_include_refused("memory", "engine/engine.hpp", "src/engine")

    def test_base_may_not_include_anything_else(self):
        self.assert_include_refused("src/base", "memory/memory.hpp", "memory")

    def test_guest_may_not_include_transport(self):
        self.assert_include_refused("src/guest", "transport/transport.hpp", "transport")

    def test_devices_may_not_include_transport(self):
        self.assert_include_refused("src/devices", "transport/transport.hpp", "transport")

    def test_qmp_may_not_include_transport(self):
        self.assert_include_refused("src/qmp", "transport/transport.hpp", "transport")

    def test_engine_may_not_include_qmp(self):
        self.assert_include_refused("src/engine", "qmp/qmp.hpp", "src/qmp")

    def test_engine_may_not_include_cli(self):
        self.assert_include_refused("src/engine", "cli/cli.hpp", "cli")

    def test_engine_may_not_include_the_library(self):
        self.assert_include_refused("src/engine", "lib/lib.hpp", "src/lib")

    def test_engine_may_not_include_bench(self):
        self.assert_include_refused("src/engine", "bench/bench.hpp", "src/bench")

    def test_bench_may_not_include_the_engine(self):
        self.assert_include_refused("src/bench", "engine/engine.hpp", "src/engine")

    def test_program_may_not_include_tests(self):
        self.assert_include_refused("cli", "catch.hpp", "tests")

    def test_indented_and_spaced_include_is_seen(self):
        self.add("accel/accel.cpp", '  #  include  "memory/memory.hpp"')
        self.assert_found("accel/accel.cpp: accel may not include memory (memory/memory.hpp)")

    def test_include_in_angle_brackets_is_seen(self):
        self.add("accel/accel.cpp", "#include <memory/memory.hpp>\n#include <memory>")
        self.assert_found("accel/accel.cpp: accel may not include memory (memory/memory.hpp)")

    def test_include_of_a_path_that_is_not_from_the_root_is_seen(self):
        self.add("accel/accel.cpp", '#include "accel.hpp"')
        self.assert_found('accel/accel.cpp: "accel.hpp" is no path from the root or from src')

    def test_include_that_climbs_is_seen(self):
        self.add("accel/accel.cpp", '#include "../memory/memory.hpp"')
        self.assert_found('accel/accel.cpp: "../memory/memory.hpp" is no path from the root or from src')

    def test_folder_without_a_rule_is_seen(self):
        self.write("src/extra/extra.hpp", "#pragma once\n")
        self.assert_found(f"src/extra/extra.hpp: is in none of the folders {', '.join(rules.MAY_INCLUDE)}")

    def test_linked_library_in_the_wrong_direction_is_seen(self):
        self.add("accel/CMakeLists.txt", "target_link_libraries(migrate_accel PUBLIC migrate_memory)")
        self.assert_found("accel/CMakeLists.txt: accel may not link migrate_memory")

    def test_file_that_is_not_listed_is_seen(self):
        self.write("memory/forgotten.cpp", "")
        self.assert_found("memory/forgotten.cpp: is not listed in memory/CMakeLists.txt")

    def test_header_without_pragma_once_is_seen(self):
        self.write("memory/open.hpp", "// Job.\n#include <vector>\n#pragma once\n")
        self.assert_found("memory/open.hpp: does not begin with #pragma once")

    def test_stranger_at_the_top_level_is_seen(self):
        self.write("notes/todo.txt", "")
        self.assert_found("notes: does not belong at the top level")


if __name__ == "__main__":
    unittest.main()
