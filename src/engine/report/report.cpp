#include "engine/report/report.hpp"

#include <algorithm>
#include <cmath>

namespace migrate::engine {

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
    if (guest && round != 0) {
        return (planned_pages - std::min(planned_pages, pages.total()) + dirty_pages) * kPageSize;
    }
    return total_bytes - std::min(total_bytes, (pages.total() + reuse.pages) * kPageSize);
}

ProgressReport progress_of(const Report& report, const PresentSpeed& speed) {
    ProgressReport progress{.speed = speed, .time_left = {}};
    if (report.status != MigrationStatus::kActive) return progress;
    // While the rest is sent, the guest writes further pages.
    const double growth =
        report.rounds.empty() ? 0 : report.rounds.back().figures.dirty_pages_per_second();
    const double net = speed.pages - growth;
    if (net <= 0) return progress;
    const double seconds =
        static_cast<double>(report.remaining_bytes()) / static_cast<double>(kPageSize) / net;
    // A rest that takes longer than this is not told from one that never ends.
    constexpr double kLongest = 1e9;
    if (seconds < kLongest) progress.time_left = Microseconds(std::llround(seconds * 1e6));
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
