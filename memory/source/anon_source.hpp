// SPDX-License-Identifier: Apache-2.0
// A synthetic guest in private anonymous memory, for measuring: one region, "ram".
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/config/choices.hpp"
#include "base/config/form.hpp"
#include "base/error.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

struct AnonSourceSpec {
    std::uint64_t size_bytes = 0;
    AnonFill fill = AnonFill::kUntouched;
    unsigned random_percent = 100;  // share of random pages, 0 … 100; for kMixed
    HugePages huge = HugePages::kOff;
};

// `parsed` is an anon: of kSourceForms.
AnonSourceSpec anon_source_spec(const ParsedForm& parsed);
// `uri` is for messages.
Result<std::unique_ptr<PageSource>> open_anon_source(std::string_view uri,
                                                     const AnonSourceSpec& spec);

// Writes the content of a random page, which is never all zero. `page` is its number.
void write_random_page(std::span<std::byte, kPageSize> to, std::uint64_t page);
// True if fill=mixed makes the page random: `percent` of any hundred consecutive pages, spread
// evenly.
constexpr bool is_random_page(std::uint64_t page, unsigned percent) {
    return (page + 1) * percent / 100 != page * percent / 100;
}

}  // namespace migrate::memory
