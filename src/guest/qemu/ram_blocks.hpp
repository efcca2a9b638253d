// SPDX-License-Identifier: Apache-2.0
// QEMU's RAM blocks: everything that QEMU calls memory of its guest, from main memory to a ROM of
// 4 KiB. They are all that a saved device state does not contain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

struct RamBlock {
    std::string name;              // "pc.ram", "0000:00:02.0/vga.vram", "/rom@etc/acpi/tables"
    std::uint64_t page_bytes = 0;  // size of the host's pages that hold it
    std::uint64_t used_bytes = 0;  // the part that a migration moves; it may grow
    std::uint64_t address = 0;     // in QEMU's process
    bool operator==(const RamBlock&) const = default;
};

// Parses QEMU's text ("info ramblock"). Nothing if it has no column of host addresses, as in QEMU
// 7.2. Blocks without a name are left out: no migration of QEMU moves them either.
Result<std::optional<std::vector<RamBlock>>> parse_ram_blocks(std::string_view text);
// Returns true if that QEMU lists them with their addresses, and has a short command for it
// (x-query-ramblock, since 6.2), which may be removed again.
bool lists_ram_blocks(const Monitor& monitor);
// Queries QEMU.
Result<std::optional<std::vector<RamBlock>>> query_ram_blocks(Monitor& monitor);

// An Error names the first block that was added, removed, resized or moved.
Status check_same_blocks(const std::vector<RamBlock>& opened, const std::vector<RamBlock>& now);

}  // namespace migrate::guest
