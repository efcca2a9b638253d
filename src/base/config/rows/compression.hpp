// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for compression.
#pragma once

#include <array>

#include "base/config/choices.hpp"
#include "base/config/option.hpp"

namespace migrate {

namespace option_rows {

inline constexpr auto kCompressionRows = in_section(
    OptionSection::kCompression,
    std::to_array<Option>({
        {.key = "multifd-compression",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "none",
         .choices = kNames<Compression>,
         .help = "Compress each packet that becomes smaller.",
         .everyday = true,
         .negotiated = true},
        {.key = "multifd-lz4-level",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "1",
         .min = 1,
         .max = 12,
         .help = "Level of lz4. A higher level compresses more and takes longer."},
        {.key = "multifd-zstd-level",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "1",
         .max = 20,
         .help =
             "Level of zstd. A higher level compresses more and takes longer; 0 is the library's "
             "default."},
    }));

}  // namespace option_rows

}  // namespace migrate
