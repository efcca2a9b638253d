// The figures of a migration, by QEMU's names and definitions (qapi/migration.json), and two ways
// to show them. Invariants, at completion: normal + duplicate + unpopulated = the regions' pages;
// the bytes of the main channel and of all multifd channels add up to transferred; payload-bytes +
// header-bytes = transferred.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/thread.hpp"
#include "base/units.hpp"
#include "engine/migration_status.hpp"
#include "transport/packet_builder.hpp"

namespace migrate::engine {

struct ChannelReport {
    std::string name;         // "main", "0", "1", …
    std::uint64_t bytes = 0;  // sender → receiver, everything
    std::uint64_t payload_bytes = 0;
    std::uint64_t packets = 0;
    transport::PageCounts pages;
};

struct Report {
    std::string side;  // "send" or "recv"
    MigrationStatus status = MigrationStatus::kNone;
    std::string error_desc;  // empty: none
    std::string peer;        // "ADDRESS:PORT"; empty: not connected
    std::string memory;      // the source's or sink's URI
    // What was agreed on and chosen, by option name.
    std::vector<std::pair<std::string, std::string>> settings;
    std::chrono::microseconds total_time{};
    std::chrono::microseconds setup_time{};
    std::uint64_t total_bytes = 0;  // of all regions
    transport::PageCounts pages;    // classified (sender) or placed (receiver) so far
    std::uint64_t transferred = 0;  // bytes, sender → receiver, over all channels, headers included
    std::uint64_t payload_bytes = 0;      // page content in it
    std::vector<ChannelReport> channels;  // the main channel first
    std::vector<ThreadTime> threads;
    std::vector<std::string> digests;  // one a region, if verified

    std::uint64_t multifd_bytes() const;
    std::uint64_t remaining_bytes() const;
    // Decimal Mbit/s over total_time − setup_time, as QEMU's mbps at completion.
    double mbps() const;
    double pages_per_second() const;
};

// The document --stats writes.
std::string to_json(const Report& report);
// The summary for people, in the manner of `info migrate`.
std::string to_text(const Report& report);

}  // namespace migrate::engine
