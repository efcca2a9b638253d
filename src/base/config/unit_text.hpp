// SPDX-License-Identifier: Apache-2.0
// Sizes, rates and durations as users write and read them: "512K", "1.5G", "1Gbit/s", "30s".
// Invariant: an accepted text stands for exactly one number; nothing is rounded, nothing overflows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate {

// Reads bytes: a whole number, alone or with K, M, G, T or KiB, MiB, GiB, TiB (either case;
// multiples of 1024). A decimal fraction is accepted with a suffix if the result is whole bytes
// ("1.5G"). Fails with kUsage.
Result<std::uint64_t> parse_bytes(std::string_view text);

// Reads bytes per second: what parse_bytes() reads, or a number with kbit, Mbit, Gbit or Tbit
// (either case; decimal multiples of a bit), each with or without "/s". Fails with kUsage.
Result<std::uint64_t> parse_bytes_per_second(std::string_view text);

// Reads milliseconds: a whole number followed by ms, s, min or h. Without a unit it is
// milliseconds, as in QEMU's downtime-limit. Fails with kUsage.
Result<std::uint64_t> parse_duration_ms(std::string_view text);

// Reads a whole decimal number without sign. Fails with kUsage.
Result<std::uint64_t> parse_integer(std::string_view text);

// For people: "512 bytes", "512.00 KiB", "1.50 GiB".
std::string format_bytes(std::uint64_t bytes);
// For people: "0.4 MiB/s", "2991 MiB/s". Always in MiB/s, so that rates can be compared.
std::string format_rate(double bytes_per_second);
// For people: "500 ms", "1.50 s", "2 min 5 s".
std::string format_duration_ms(std::uint64_t duration_ms);

// The shortest text that the parsers above turn back into exactly this number: "512K", "30s".
std::string exact_bytes_text(std::uint64_t bytes);
std::string exact_duration_text(std::uint64_t duration_ms);

}  // namespace migrate
