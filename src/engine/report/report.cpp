#include "engine/report/report.hpp"

#include <algorithm>

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
    if (!rounds.empty()) return dirty_pages * kPageSize;
    return total_bytes - std::min(total_bytes, (pages.total() + reuse.pages) * kPageSize);
}

double Report::mbps() const {
    const auto active = static_cast<double>((total_time - setup_time).count());
    return active > 0 ? static_cast<double>(transferred) * 8 / active : 0;
}

double Report::pages_per_second() const {
    const auto active = static_cast<double>((total_time - setup_time).count());
    return active > 0 ? static_cast<double>(pages.normal + pages.zero) * 1e6 / active : 0;
}

}  // namespace migrate::engine
