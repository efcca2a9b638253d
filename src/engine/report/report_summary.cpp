// SPDX-License-Identifier: Apache-2.0
// The few lines that `migrate` prints when a migration is complete, for people.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/config/unit_text.hpp"
#include "engine/report/report.hpp"

namespace migrate::engine {
namespace {

double in_ms(Microseconds time) { return static_cast<double>(time.count()) / 1000; }

std::string duration_text(Microseconds time) {
    return format_duration_ms(
        static_cast<std::uint64_t>(std::max<std::int64_t>(whole_ms(time), 0)));
}

std::string counted(std::uint64_t count, std::string_view singular, std::string_view plural) {
    return fmt::format("{} {}", count, count == 1 ? singular : plural);
}

std::string moved_line(const Report& report) {
    const std::string size = format_bytes(report.total_bytes);
    const std::string what =
        report.guest ? fmt::format("the guest ({}, {})", report.guest->kind, size) : size;
    const bool sends = report.side == "send";
    return fmt::format("moved: {} from {} to {}, {}\n", what, sends ? report.memory : report.peer,
                       sends ? report.peer : report.memory, report.security.text());
}

std::string time_line(const Report& report) {
    const auto rate = static_cast<double>(report.mbps()) * 1e6 / 8;
    return fmt::format("time: {}, {} of it set-up; {} {} on {} at {} ({:.2f} Gbit/s)\n",
                       duration_text(report.total_time), duration_text(report.setup_time),
                       report.side == "send" ? "sent" : "received",
                       format_bytes(report.transferred),
                       counted(report.multifd.channels, "channel", "channels"), format_rate(rate),
                       report.mbps() / 1000);
}

std::string downtime_line(const Report& report) {
    if (!report.has_downtime()) return {};
    const DowntimeReport& down = report.downtime;
    std::string text = fmt::format("downtime: {:.1f} ms", in_ms(down.total));
    if (report.expected_downtime.count() != 0) {
        text += fmt::format(" (expected {:.1f})", in_ms(report.expected_downtime));
    }
    std::string_view separator = ": ";
    for (const DowntimePart& part : kDowntimeParts) {
        const Microseconds time = down.*part.time;
        if (time.count() < 50) continue;  // it would be shown as 0.0
        text += fmt::format("{}{} {:.1f}", separator, part.word, in_ms(time));
        separator = ", ";
    }
    return text + '\n';
}

// An image has no rounds; its pages say what was to do.
std::string work_line(const Report& report) {
    if (!report.guest) {
        const std::string reused =
            report.reuse.pages == 0 ? "" : fmt::format(", {} already there", report.reuse.pages);
        return fmt::format("pages: {} with content, {} zero, {} never touched{}\n",
                           report.pages.normal, report.pages.zero, report.pages.unpopulated,
                           reused);
    }
    std::string text = fmt::format("rounds: {}; the last had {}", report.round,
                                   format_bytes(report.round_pages * kPageSize));
    if (report.guest->rate_during > 0) {
        text += fmt::format("; the guest wrote {}", format_rate(report.guest->rate_during));
    }
    if (report.guest->cpu_throttle != 0) {
        text += fmt::format(", throttled by {} %", report.guest->cpu_throttle);
    }
    return text + '\n';
}

std::string proof_line(const Report& report) {
    if (report.digests.size() == 1) {
        return fmt::format("proof: digest {} on both sides\n", report.digests.front());
    }
    if (!report.digests.empty()) {
        return fmt::format("proof: the digests of {} regions are equal on both sides\n",
                           report.digests.size());
    }
    return fmt::format(
        "proof: both sides counted the same {}; --verify digest compares their content\n",
        counted(report.pages.total(), "page", "pages"));
}

}  // namespace

std::string to_summary(const Report& report) {
    return moved_line(report) + time_line(report) + downtime_line(report) + work_line(report) +
           proof_line(report);
}

}  // namespace migrate::engine
