// SPDX-License-Identifier: Apache-2.0
// Outputs that are read, read late, never read, closed and full.
#include "base/async_writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <future>
#include <sstream>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/ignored_signal.hpp"
#include "tests/support/pipe.hpp"

namespace migrate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

AsyncWriter::Options counted(std::size_t queue_bytes = 64 * 1024) {
    return {.queue_bytes = queue_bytes, .reserve_bytes = 1024, .dropped_line = [](std::uint64_t n) {
                return fmt::format("{} dropped\n", n);
            }};
}

TEST_CASE("a reader gets every message in order") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted());
    std::string expected;
    for (int i = 0; i < 1000; ++i) {
        writer.write(fmt::format("line {}\n", i));
        expected += fmt::format("line {}\n", i);
    }
    CHECK(pipe.read_until("line 999\n") == expected);
    CHECK(writer.flush(kLong));
    CHECK(writer.unwritten() == 0);
}

TEST_CASE("a pipe without a reader delays no caller, and flush() up to its limit only") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted());
    const auto start = Clock::now();
    for (int i = 0; i < 100'000; ++i) writer.write("a line that nobody reads\n");
    CHECK_FALSE(writer.flush(milliseconds(100)));
    CHECK(Clock::now() - start < seconds(10));
    CHECK(writer.unwritten() > 0);
}

TEST_CASE("dropped messages are counted in their place once the output is read again") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted());
    constexpr std::uint64_t kLines = 20'000;
    for (std::uint64_t i = 0; i < kLines; ++i) writer.write("a line that is read late\n");
    auto read = std::async(std::launch::async, [&] { return pipe.read_until("end\n"); });
    CHECK(writer.flush(kLong));
    writer.write("end\n");
    std::istringstream text(read.get());
    std::uint64_t lines = 0;
    std::uint64_t dropped = 0;
    for (std::string line; std::getline(text, line);) {
        if (line == "a line that is read late") ++lines;
        if (line.ends_with(" dropped")) dropped += std::stoull(line);
    }
    CHECK(dropped > 0);
    CHECK(lines + dropped == kLines);
    writer.write("the next line\n");
    CHECK(pipe.read_until("\n") == "the next line\n");
}

TEST_CASE("an important message finds room where an ordinary one does not") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted());
    for (int i = 0; i < 20'000; ++i) writer.write("an ordinary line\n");
    writer.write("error\n", Importance::kImportant);
    auto read = std::async(std::launch::async, [&] { return pipe.read_until("error\n"); });
    CHECK(read.get().ends_with("error\n"));
}

TEST_CASE("a single message larger than the queue is written") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted(16));
    const std::string large = std::string(200'000, 'x') + "\n";
    writer.write(large);
    CHECK(pipe.read_until("\n") == large);
}

TEST_CASE("a closed pipe costs its text and nothing else") {
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted());
    pipe.reader.reset();
    for (int i = 0; i < 100; ++i) writer.write("text\n");
    CHECK(writer.flush(kLong));
    std::signal(SIGPIPE, before);
}

TEST_CASE("a full disk costs its text, and what is written later arrives with the count") {
    // /dev/full stands for the disk; afterwards its number names a pipe.
    UniqueFd output(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    REQUIRE(output);
    AsyncWriter writer(output.get(), counted());
    writer.write("lost\n");
    writer.write("lost too\n");
    CHECK(writer.flush(kLong));
    CHECK(writer.unwritten() == 2);
    Pipe pipe;
    REQUIRE(::dup3(pipe.writer.get(), output.get(), O_CLOEXEC) >= 0);
    writer.write("there\n");
    CHECK(pipe.read_until("dropped\n") == "there\n2 dropped\n");
}

TEST_CASE(
    "a message that a full file holds only in part is removed, and the next follows the last") {
    const UniqueFd file(::memfd_create("output", MFD_CLOEXEC));
    REQUIRE(file);
    const IgnoredSignal ignored(SIGXFSZ);
    {
        AsyncWriter writer(UniqueFd(::dup(file.get())), counted());
        writer.write("first\n");
        REQUIRE(writer.flush(kLong));
        {
            const FileSizeLimit limit(8);
            writer.write("second\n");
            REQUIRE(writer.flush(kLong));
        }
        writer.write("third\n");
        REQUIRE(writer.flush(kLong));
    }
    std::array<char, 64> text{};
    const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
    REQUIRE(size > 0);
    CHECK(std::string(text.data(), static_cast<std::size_t>(size)) == "first\nthird\n1 dropped\n");
}

TEST_CASE("an output that ends at an error says so once") {
    std::promise<int> told;
    AsyncWriter::Options options = counted();
    options.ends_at_error = true;
    options.on_end = [&](int error) { told.set_value(error); };
    AsyncWriter writer(UniqueFd(::open("/dev/full", O_WRONLY | O_CLOEXEC)), options);
    for (int i = 0; i < 100; ++i) writer.write("text\n");
    CHECK(told.get_future().get() == ENOSPC);
    CHECK(writer.flush(kLong));
}

TEST_CASE("an output that another program made non-blocking is written whole") {
    Pipe pipe;
    REQUIRE(::fcntl(pipe.writer.get(), F_SETFL, O_NONBLOCK) == 0);
    AsyncWriter writer(std::move(pipe.writer), counted(1 << 20));
    const std::string text = std::string(500'000, 'x') + "\n";
    writer.write(text);
    CHECK(pipe.read_until("\n") == text);
}

TEST_CASE("a writer whose thread hangs is destroyed at once, and its descriptor later") {
    Pipe pipe;
    const auto start = Clock::now();
    {
        AsyncWriter writer(std::move(pipe.writer), counted());
        for (int i = 0; i < 10'000; ++i) writer.write("a line that nobody reads\n");
        CHECK_FALSE(writer.flush(milliseconds(50)));
    }
    CHECK(Clock::now() - start < seconds(10));
    // The end of the pipe: the thread has closed its end.
    CHECK_FALSE(pipe.read_until("").empty());
}

TEST_CASE("the child of a fork writes by itself and does not wait for a lock or a reader") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted());
    for (int i = 0; i < 100'000; ++i) writer.write("a line that nobody reads\n");
    CHECK(exit_code_of_fork([&] {
              writer.write("of the child\n");
              return writer.flush(kLong) ? 0 : 1;
          }) == 0);
}

TEST_CASE("many threads write whole messages") {
    Pipe pipe;
    AsyncWriter writer(std::move(pipe.writer), counted(1 << 22));
    constexpr unsigned kThreads = 4;
    constexpr unsigned kEach = 2000;
    auto read = std::async(std::launch::async, [&] { return pipe.read_until("end\n"); });
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < kThreads; ++i) {
            threads.emplace_back([&] {
                for (unsigned j = 0; j < kEach; ++j) writer.write("one whole line\n");
            });
        }
    }
    writer.write("end\n");
    std::istringstream text(read.get());
    unsigned lines = 0;
    for (std::string line; std::getline(text, line) && line == "one whole line";) ++lines;
    CHECK(lines == kThreads * kEach);
}

}  // namespace
}  // namespace migrate
