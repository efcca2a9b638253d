#include "cli/progress.hpp"

#include "base/config/unit_text.hpp"
#include "base/output.hpp"

namespace migrate::cli {

using std::chrono::microseconds;
using std::chrono::milliseconds;

ProgressStyle choose_progress(AutoOnOff option, bool is_terminal) {
    if (option == AutoOnOff::kOff) return ProgressStyle::kNone;
    return is_terminal ? ProgressStyle::kTerminal : ProgressStyle::kLines;
}

std::string progress_text(const engine::Report& report, std::uint64_t window_bytes,
                          microseconds window) {
    if (report.status != engine::MigrationStatus::kActive) {
        return fmt::format("status: {}", name_of(report.status));
    }
    if (!report.rounds.empty()) {
        const auto& [figures, decision] = report.rounds.back();
        const unsigned throttle = report.guest ? report.guest->cpu_throttle : 0;
        return fmt::format(
            "round {}  {} remaining  dirty {:.0f} MiB/s  expected downtime {} ms{}{}",
            report.rounds.size() + 1, format_bytes(report.remaining_bytes()),
            figures.dirty_pages_per_second() * static_cast<double>(kPageSize) /
                static_cast<double>(kMiB),
            report.expected_downtime.count() / 1000,
            throttle == 0 ? "" : fmt::format("  throttle {} %", throttle),
            decision.stalled ? "  stalled" : "");
    }
    const std::uint64_t remaining = report.remaining_bytes();
    const std::uint64_t done = report.total_bytes - remaining;
    const std::uint64_t percent = report.total_bytes == 0 ? 100 : done * 100 / report.total_bytes;
    const double seconds = static_cast<double>(window.count()) / 1e6;
    std::string text = fmt::format("{:3} %  {} of {}", percent, format_bytes(done),
                                   format_bytes(report.total_bytes));
    if (seconds > 0) {
        text += fmt::format("  {:.0f} mbps", static_cast<double>(window_bytes) * 8 / 1e6 / seconds);
    }
    const double active =
        static_cast<double>((report.total_time - report.setup_time).count()) / 1e6;
    if (done != 0 && remaining != 0 && active > 0) {
        text += fmt::format("  {:.0f} s left",
                            active * static_cast<double>(remaining) / static_cast<double>(done));
    }
    return text;
}

milliseconds Progress::interval() const {
    return style_ == ProgressStyle::kTerminal ? milliseconds(200) : milliseconds(1000);
}

void Progress::update(const engine::Report& report) {
    // There is nothing to show before a peer is connected.
    if (style_ == ProgressStyle::kNone || report.peer.empty()) return;
    const std::string text =
        progress_text(report, report.transferred - last_bytes_, report.total_time - last_time_);
    last_bytes_ = report.transferred;
    last_time_ = report.total_time;
    // \033[K erases the rest of an earlier, longer line.
    const char* frame = style_ == ProgressStyle::kTerminal ? "\r{}\033[K" : "{}\n";
    output::to_stderr(fmt::format(fmt::runtime(frame), text));
    shown_ = true;
}

void Progress::finish() {
    if (shown_ && style_ == ProgressStyle::kTerminal) output::to_stderr("\n");
    shown_ = false;
}

}  // namespace migrate::cli
