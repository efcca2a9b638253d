// SPDX-License-Identifier: Apache-2.0
#include "engine/report/report.hpp"

#include <algorithm>
#include <cmath>

namespace migrate::engine {
namespace {

// Seconds. A rest that takes longer is not told from one that never ends.
constexpr double kLongest = 1e9;

// Pages that become dirty per second.
double growth_of(const Report& report, double speed) {
    if (!report.rounds.empty()) return report.rounds.back().figures.dirty_pages_per_second();
    // Before a round has counted pages, only the guest's writes are known, and they may hit the
    // same pages again.
    return report.round <= 1 && report.dirty_rate >= speed ? 0 : report.dirty_rate;
}

// The memory that is still to be sent, in pages.
struct Rest {
    double planned = 0;  // of the present round, or collected for the next one
    double written = 0;  // by the guest since the last collection
};

// Seconds until the guest is paused: the rounds as Convergence and ExtraRounds decide them, with
// the figures of the last one. `speed` and `growth`: pages per second sent, and written.
double seconds_to_pause(const Rest& rest, double speed, double growth, const RoundReport& last,
                        double elapsed) {
    constexpr int kMostRounds = 1000;
    const auto seconds_of = [](Microseconds time) {
        return static_cast<double>(time.count()) / 1e6;
    };
    // The rate of the last round, which has no bandwidth limit.
    const double pages = std::max(last.decision.bandwidth / static_cast<double>(kPageSize), 1.0);
    const double expected = seconds_of(last.decision.expected_downtime);
    const double fixed =
        std::max(0.0, expected - static_cast<double>(last.figures.dirty_pages) / pages);
    // A quarter of the expected downtime is a reserve.
    const double fitting =
        std::max(0.0, (seconds_of(last.decision.downtime_limit) / 1.25 - fixed) * pages);
    double seconds = rest.planned / speed;
    double dirty = rest.written + growth * seconds;
    double extra = 0;  // time of rounds that only shorten the pause
    for (int round = 0; round < kMostRounds; ++round) {
        const double time = dirty / speed;
        const double next = growth * time;
        if (dirty <= fitting) {
            const double gain = (dirty - next) / pages;
            const bool pays = 2 * next <= dirty &&
                              gain >= std::max(0.0005, (fixed + dirty / pages) / 8) &&
                              extra + time <= (elapsed + seconds) / 10;
            if (!pays) return seconds;
            extra += time;
        } else if (growth >= speed) {
            return kLongest;
        }
        seconds += time;
        dirty = next;
    }
    return seconds;
}

double seconds_to_send(const Report& report, double speed, double growth) {
    const Rest rest{static_cast<double>(report.remaining_bytes()) / static_cast<double>(kPageSize),
                    growth * static_cast<double>(report.uncollected.count()) / 1e6};
    if (!report.rounds.empty() && report.rounds.back().decision.downtime_limit.count() != 0) {
        const auto elapsed = static_cast<double>((report.total_time - report.setup_time).count());
        return seconds_to_pause(rest, speed, growth, report.rounds.back(), elapsed / 1e6);
    }
    return speed > growth ? (rest.planned + rest.written) / (speed - growth) : kLongest;
}

}  // namespace

std::int64_t whole_ms(Microseconds time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

bool Report::has_downtime() const {
    if (status != MigrationStatus::kCompleted) return false;
    return guest || (side == "send" && !devices.empty());
}

std::uint64_t Report::multifd_bytes() const {
    std::uint64_t bytes = 0;
    for (const ChannelReport& channel : channels)
        bytes += channel.name == "main" ? 0 : channel.bytes;
    return bytes;
}

std::uint64_t Report::remaining_bytes() const {
    if (postcopy) {
        const std::uint64_t moved = postcopy->normal + postcopy->zero;
        return (postcopy->missing - std::min(postcopy->missing, moved)) * kPageSize;
    }
    if (guest && round != 0) {
        const std::uint64_t settled = pages.total() + postponed_pages;
        return (planned_pages - std::min(planned_pages, settled) + dirty_pages) * kPageSize;
    }
    return total_bytes - std::min(total_bytes, (pages.total() + reuse.pages) * kPageSize);
}

ProgressReport progress_of(const Report& report, const PresentSpeed& speed) {
    ProgressReport progress{.speed = speed, .time_left = {}};
    if (report.status != MigrationStatus::kActive || speed.pages <= 0) return progress;
    // While the rest is sent, the guest writes further pages, as it has done since the last
    // collection.
    const double pages = speed.lasting_pages.value_or(speed.pages);
    const double seconds_left = seconds_to_send(report, pages, growth_of(report, pages));
    if (seconds_left < kLongest) {
        progress.time_left = Microseconds(std::llround(seconds_left * 1e6));
    }
    return progress;
}

double Report::mbps() const {
    return progress ? progress->speed.bytes * 8 / 1e6 : mbps_of(transferred);
}

double Report::mbps_of(std::uint64_t bytes) const {
    const auto active = static_cast<double>((total_time - setup_time).count());
    return active > 0 ? static_cast<double>(bytes) * 8 / active : 0;
}

double Report::pages_per_second() const {
    const auto active = static_cast<double>((total_time - setup_time).count());
    return active > 0 ? static_cast<double>(pages.normal + pages.zero) * 1e6 / active : 0;
}

}  // namespace migrate::engine
