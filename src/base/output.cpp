// SPDX-License-Identifier: Apache-2.0
#include "base/output.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

namespace migrate::output {
namespace {

constexpr std::size_t kReportBytes = std::size_t{1024} * 1024;

bool same_file(int a, int b) {
    struct stat first {};
    struct stat second {};
    return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

AsyncWriter::Options options_for(std::string name, std::size_t queue_bytes) {
    return {.queue_bytes = queue_bytes, .dropped_line = [name = std::move(name)](std::uint64_t n) {
                return fmt::format("migrate: {} messages were dropped: {} was not read\n", n, name);
            }};
}

struct Outputs {
    Outputs() : err(STDERR_FILENO, options_for("standard error", std::size_t{256} * 1024)) {
        if (same_file(STDOUT_FILENO, STDERR_FILENO)) return;
        own_out = std::make_unique<AsyncWriter>(STDOUT_FILENO,
                                                options_for("standard output", kReportBytes));
    }

    AsyncWriter err;
    // Null: standard output is the same file as standard error.
    std::unique_ptr<AsyncWriter> own_out;
    std::atomic<bool> stalled{false};  // flush() or drain() gave up an output
};

// Never destroyed: other threads may still log while the program ends.
Outputs& outputs() {
    static Outputs& instance = *new Outputs;
    return instance;
}

}  // namespace

void to_stdout(std::string_view text) noexcept {
    try {
        Outputs& all = outputs();
        AsyncWriter& writer = all.own_out ? *all.own_out : all.err;
        writer.write(std::string(text), Importance::kImportant);
    } catch (const std::exception&) {
        // Out of memory: the text is lost.
    }
}

void to_stderr(std::string_view text, Importance importance) noexcept {
    try {
        outputs().err.write(std::string(text), importance);
    } catch (const std::exception&) {
        // Out of memory: the text is lost.
    }
}

namespace {

bool drain_within(AsyncWriter& writer, std::chrono::milliseconds longest_stall) {
    std::atomic<bool>& stalled = outputs().stalled;
    const bool done = writer.flush(stalled.load() ? kShortStall : longest_stall);
    if (!done) stalled.store(true);
    return done;
}

}  // namespace

bool drain(AsyncWriter& writer) noexcept { return drain_within(writer, kLongestStall); }

void flush(std::chrono::milliseconds longest_stall) noexcept {
    try {
        Outputs& all = outputs();
        if (all.own_out && !drain_within(*all.own_out, longest_stall)) {
            to_stderr(fmt::format("migrate: standard output is not read: {} messages are lost\n",
                                  all.own_out->unwritten()),
                      Importance::kImportant);
        }
        static_cast<void>(drain_within(all.err, longest_stall));
    } catch (const std::exception&) {
        // Out of memory: text that was handed over may still be written.
    }
}

}  // namespace migrate::output
