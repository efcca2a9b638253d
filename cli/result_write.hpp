// SPDX-License-Identifier: Apache-2.0
// Writes a result file at the end of the program.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <variant>

#include "base/blocking_call.hpp"
#include "cli/output_file.hpp"

namespace migrate::cli {

// Longest time that an unresponsive file system can delay the program's end.
inline constexpr std::chrono::seconds kLongestResultWrite{30};

inline Status write_result(OutputFile file, std::string text) {
    using None = std::monostate;
    const Result<None> written =
        call_within<None>("write the stats file", {.timeout = kLongestResultWrite},
                          [file = std::make_shared<OutputFile>(std::move(file)),
                           text = std::move(text)]() -> Result<None> {
                              MIGRATE_TRY(file->write(text));
                              return None();
                          });
    return written ? Status() : Status(written.error());
}

}  // namespace migrate::cli
