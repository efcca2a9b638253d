// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/config/unit_text.hpp"
#include "base/output.hpp"

namespace migrate::cli {

using engine::Report;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

constexpr std::uint64_t kBarWidth = 10;

std::string bar(std::uint64_t done, std::uint64_t total) {
    const std::uint64_t full =
        total == 0 ? kBarWidth
                   : static_cast<std::uint64_t>(static_cast<double>(done) /
                                                static_cast<double>(total) * kBarWidth);
    const auto filled = static_cast<std::size_t>(std::min(full, kBarWidth));
    return fmt::format("[{}{}]", std::string(filled, '#'), std::string(kBarWidth - filled, '-'));
}

// The part of all memory that is sent, in percent.
std::uint64_t percent_done(const Report& report) {
    if (report.total_bytes == 0) return 100;
    const std::uint64_t remaining = std::min(report.total_bytes, report.remaining_bytes());
    return (report.total_bytes - remaining) * 100 / report.total_bytes;
}

// "0:07", "1:02:03".
std::string clock_text(microseconds time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
    if (seconds < 3600) return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60);
}

// The time left, to the nearest second.
std::string left_text(microseconds left) {
    return fmt::format("{} left", clock_text(left + milliseconds(500)));
}

// The rate, the time that has passed and the time left.
std::string speed_text(const Report& report) {
    std::string text;
    if (report.progress) text += fmt::format("  {}", format_rate(report.progress->speed.bytes));
    text += fmt::format("  {} elapsed", clock_text(report.total_time));
    if (report.progress && report.progress->time_left) {
        text += "  " + left_text(*report.progress->time_left);
    }
    return text;
}

// The figures of the last round, which only the sender has.
std::string round_text(const Report& report) {
    if (report.rounds.empty()) return {};
    const auto& [figures, decision] = report.rounds.back();
    const unsigned throttle = report.guest ? report.guest->cpu_throttle : 0;
    return fmt::format(
        "  dirty {}  expected downtime {} ms{}{}",
        format_rate(figures.dirty_pages_per_second() * static_cast<double>(kPageSize)),
        report.expected_downtime.count() / 1000,
        throttle == 0 ? "" : fmt::format("  throttle {} %", throttle),
        decision.stalled ? "  stalled" : "");
}

// Cuts a line that would wrap, since the next one could not replace it.
void fit_terminal(std::string& text) {
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return;
    if (text.size() >= size.ws_col) text.resize(size.ws_col - 1U);
}

}  // namespace

ProgressStyle choose_progress(AutoOnOff option, bool is_terminal) {
    if (option == AutoOnOff::kOff) return ProgressStyle::kNone;
    if (is_terminal) return ProgressStyle::kTerminal;
    return option == AutoOnOff::kOn ? ProgressStyle::kLines : ProgressStyle::kNone;
}

std::string progress_text(const Report& report) {
    if (report.status != engine::MigrationStatus::kActive) {
        return fmt::format("status: {}", name_of(report.status));
    }
    const std::uint64_t remaining = report.remaining_bytes();
    if (report.guest && report.round > 1) {
        const std::uint64_t total = std::max(report.round_pages * kPageSize, remaining);
        return fmt::format("{}  round {}  {} remaining{}{}", bar(total - remaining, total),
                           report.round, format_bytes(remaining), speed_text(report),
                           round_text(report));
    }
    const std::uint64_t done = report.total_bytes - std::min(report.total_bytes, remaining);
    return fmt::format("{}  {:3} %  {} of {}{}", bar(done, report.total_bytes),
                       percent_done(report), format_bytes(done), format_bytes(report.total_bytes),
                       speed_text(report));
}

std::string status_text(const Report& report) {
    if (report.peer.empty() && !is_final(report.status)) return "waiting";
    std::string text(name_of(report.status));
    if (report.status != engine::MigrationStatus::kActive) return text;
    text += fmt::format(", {} %", percent_done(report));
    if (report.guest && report.round > 1) text += fmt::format(", round {}", report.round);
    if (!report.progress) return text;
    text += fmt::format(", {}", format_rate(report.progress->speed.bytes));
    if (report.progress->time_left) {
        text += ", " + left_text(*report.progress->time_left);
    }
    return text;
}

milliseconds Progress::interval() const {
    // Below half a second, so that there are two a second although each takes time itself.
    return milliseconds(style_ == ProgressStyle::kTerminal ? 200 : 400);
}

void Progress::update(const Report& report) {
    // There is nothing to show before a peer is connected.
    if (report.peer.empty()) return;
    emit(report);
    if (style_ == ProgressStyle::kNone) return;
    std::string text = progress_text(report);
    if (style_ == ProgressStyle::kTerminal) fit_terminal(text);
    // \033[K erases the rest of an earlier, longer line.
    const char* frame = style_ == ProgressStyle::kTerminal ? "\r{}\033[K" : "{}\n";
    output::to_stderr(fmt::format(fmt::runtime(frame), text));
    shown_ = true;
}

void Progress::emit(const Report& report) {
    if (!report.progress) return;
    const auto ms = [](microseconds time) {
        return static_cast<std::uint64_t>(engine::whole_ms(time));
    };
    std::vector<engine::EventField> fields{
        {"pass", std::uint64_t{report.round}},
        {"remaining", report.remaining_bytes()},
        {"transferred", report.transferred},
        {"bytes-per-second", static_cast<std::uint64_t>(report.progress->speed.bytes)},
        {"total-time", ms(report.total_time)}};
    if (report.progress->time_left) {
        fields.emplace_back("time-left", ms(*report.progress->time_left));
    }
    events_.emit("MIGRATION_PROGRESS", fields);
}

void Progress::finish() {
    if (shown_ && style_ == ProgressStyle::kTerminal) output::to_stderr("\n");
    shown_ = false;
}

}  // namespace migrate::cli
