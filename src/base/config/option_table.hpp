// SPDX-License-Identifier: Apache-2.0
// The only option table, with one row per option. Flags, JSON keys, --help, --print-config,
// validation, the handshake, the man page, the completion and docs/options.md are all read from it.
// Invariant: an option is one row and the get<"key">() that uses it; there is no other list of
// options. The rows of each section of the help are in a file of their own, in rows/. The words of
// the options that have forms are rows of form_tables.hpp.
#pragma once

#include <algorithm>
#include <array>

#include "base/config/rows/channels.hpp"
#include "base/config/rows/compression.hpp"
#include "base/config/rows/connection.hpp"
#include "base/config/rows/devices.hpp"
#include "base/config/rows/live.hpp"
#include "base/config/rows/memory.hpp"
#include "base/config/rows/reports.hpp"
#include "base/config/rows/security.hpp"
#include "base/config/rows/zero_pages.hpp"

namespace migrate {

// Returns the rows of all `sections`, in this order.
template <std::size_t... kSizes>
constexpr auto join_rows(const std::array<Option, kSizes>&... sections) {
    std::array<Option, (kSizes + ...)> rows{};
    auto end = rows.begin();
    ((end = std::copy(sections.begin(), sections.end(), end)), ...);
    return rows;
}

inline constexpr auto kOptions = join_rows(
    option_rows::kConnectionRows, option_rows::kSecurityRows, option_rows::kMemoryRows,
    option_rows::kChannelsRows, option_rows::kZeroPagesRows, option_rows::kCompressionRows,
    option_rows::kDevicesRows, option_rows::kLiveRows, option_rows::kReportsRows);

}  // namespace migrate
