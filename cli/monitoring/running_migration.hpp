// SPDX-License-Identifier: Apache-2.0
// One line of `migrate status`: a `migrate send` or `migrate recv` that runs on this host, as JSON
// and as text. Invariant: parse_running() accepts any bytes, since other users write the files that
// it reads, and the text contains no control characters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/config/settings.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

struct RunningMigration {
    std::int64_t pid = 0;
    std::string side;      // "send" or "recv"
    std::string guest;     // the value of guest-name; may be empty
    std::string memory;    // the source or the sink
    std::string address;   // of --connect or --listen
    std::string peer;      // "ADDRESS:PORT"; empty: not connected
    std::string status;    // QEMU's MigrationStatus
    std::string progress;  // status_text(), for people
    std::uint32_t round = 0;
    std::uint64_t total = 0;        // bytes
    std::uint64_t remaining = 0;    // bytes
    std::uint64_t transferred = 0;  // bytes
    std::uint64_t bytes_per_second = 0;
    std::uint64_t total_time_ms = 0;
    std::optional<std::uint64_t> time_left_ms;
    std::string metrics;  // endpoint of --metrics; may be empty
    std::string qmp;      // address of --qmp; may be empty
};

// This process. `metrics`: the endpoint that serves its metrics.
RunningMigration running_here(const Settings& settings, const engine::Report& report,
                              std::string metrics);

// At most kMostEntryBytes; longer texts are cut.
inline constexpr std::size_t kMostEntryBytes = 4096;
// One object without a line end.
std::string to_json(const RunningMigration& running);
// Nothing if the text is not such an object.
std::optional<RunningMigration> parse_running(std::string_view json);
// One line with its end.
std::string to_line(const RunningMigration& running);

}  // namespace migrate::cli
