#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The engine's classes, its sessions and all files keep to their limits; and the rules find a tree that does not."""

import tempfile
import unittest
from pathlib import Path

import class_sizes
import size_rules as rules

PROJECT = Path(__file__).resolve().parents[2]


class Project(unittest.TestCase):
    def test_keeps_every_limit(self):
        self.assertEqual(rules.check_all(PROJECT), [])

    def test_has_classes_that_are_counted(self):
        """Guards against checks that pass because they count nothing."""
        sizes = {size.name: size for name in ("send/send_session", "recv/recv_channel", "peer_link")
                 for size in class_sizes.sizes_in((PROJECT / rules.ENGINE / (name + ".hpp")).read_text())}
        for name in ("SendSession", "RecvChannel", "PeerLink"):
            self.assertGreater(sizes[name].private_functions, 4, name)
            self.assertGreater(sizes[name].fields, 7, name)


class Counting(unittest.TestCase):
    def assert_sizes(self, code, *sizes):
        self.assertEqual([tuple(size) for size in class_sizes.sizes_in(code)], list(sizes))

    def test_functions_and_fields_of_all_forms_are_counted(self):
        self.assert_sizes("""
            template <typename T>
            class Reader final : public Source {
              public:
                explicit Reader(int a) : a_(a), b_{2} {}  // int comment_;
                int a() const { return a_; }
                using Call = std::function<void(int)>;
                int shown = 0;

              private:
                friend class Other;
                Reader(int a, int b);
                Status read(std::span<const std::byte> bytes, int limit = f(3)) REQUIRES(mutex_);
                bool operator<(const Reader& other) const { return a_ < other.a_; }
                static constexpr int kLimit = 3;
                enum class Kind { kOne, kTwo };

                int a_;
                const int b_, c_ = 7;
                std::function<void(int)> call_;
                std::map<int, std::vector<int>> map_ GUARDED_BY(mutex_){};
                std::atomic<int> count_{0};
                void (*hook_)(int) = nullptr;
                std::string text_ = "{ int x; ( ";
            };""", ("Reader", 2, 9, False))

    def test_each_nested_class_is_counted_on_its_own(self):
        self.assert_sizes("""
            class Outer {
                struct Inner { int a; int b; };
                Inner inner_;
                void run();
            };
            struct Outer::State { void start(); int a; };
            enum class Kind { kOne };
            """, ("Outer", 1, 1, False), ("Inner", 0, 2, True), ("Outer::State", 0, 1, False))

    def test_a_struct_whose_functions_only_read_it_is_a_list_of_values(self):
        self.assert_sizes("struct Figures { int a = 0; bool empty() const { return a == 0; } };",
                          ("Figures", 0, 1, True))
        self.assert_sizes("struct State { int a = 0; void run(); };", ("State", 0, 1, False))


class WrongTree(unittest.TestCase):
    """Each test puts one fault into a tree that is in order."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for session in rules.SESSIONS:
            for suffix in (".hpp", ".cpp"):
                self.write(f"src/engine/{session}{suffix}", "// Job.\n" * rules.MOST_SESSION_LINES)
        self.assertEqual(rules.check_all(self.root), [])

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def assert_found(self, *problems):
        self.assertEqual(rules.check_all(self.root), list(problems))

    def write_class(self, kind, functions, fields):
        members = ["    void step_%d();\n" % i for i in range(functions)]
        members += ["    int field_%d_ = 0;\n" % i for i in range(fields)]
        self.write("src/engine/large.hpp", kind + " Large {\n" + "".join(members) + "};\n")

    def test_a_class_with_too_many_private_functions_is_found(self):
        self.write_class("class", 12, 15)
        self.assert_found()
        self.write_class("class", 13, 15)
        self.assert_found("src/engine/large.hpp: Large has 13 private functions; split it by responsibility")

    def test_a_class_with_too_many_fields_is_found(self):
        self.write_class("class", 12, 16)
        self.assert_found("src/engine/large.hpp: Large has 16 fields; split it by responsibility")
        self.write_class("struct", 1, 16)
        self.assert_found("src/engine/large.hpp: Large has 16 fields; split it by responsibility")

    def test_a_list_of_values_may_have_many_fields(self):
        self.write_class("struct", 0, 40)
        self.assert_found()

    def test_a_class_that_is_defined_in_two_files_is_found(self):
        self.write("src/engine/a.cpp", "namespace {\nvoid help() {}\n}\nStatus Large::run() {\n    Other::call();\n}\n")
        self.assert_found()
        self.write("src/engine/send/b.cpp", "Large::~Large() { stop(); }\n")
        self.assert_found("Large is defined in src/engine/a.cpp, src/engine/send/b.cpp; make it several classes")

    def test_a_long_session_is_found(self):
        self.write("src/engine/send/send_session.cpp", "// Job.\n" * (rules.MOST_SESSION_LINES + 1))
        self.assert_found("src/engine/send/send_session.cpp: has 200 lines; a session lists its phases")

    def test_a_missing_session_is_found(self):
        (self.root / "src/engine/recv/recv_session.hpp").unlink()
        self.assert_found("src/engine/recv/recv_session.hpp: no such file")

    def test_a_long_file_is_found_in_the_program_and_in_tests(self):
        for path in ("memory/large.cpp", "tests/qemu/large_test.py"):
            self.write(path, "\n" * 499)
        self.assert_found()
        for path in ("memory/large.cpp", "tests/qemu/large_test.py"):
            self.write(path, "\n" * 500)
        self.assert_found("memory/large.cpp: has 500 lines; make it two files by topic",
                          "tests/qemu/large_test.py: has 500 lines; make it two files by topic")


if __name__ == "__main__":
    unittest.main()
