// SPDX-License-Identifier: Apache-2.0
// A memory image in a file: one region, "ram", mapped shared and read-only.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

// `uri` is for the description. kUsage if the path does not name a usable file.
Result<std::unique_ptr<PageSource>> open_file_source(std::string_view uri, std::string_view path);
// The same for a regular file that is open for reading; `path` is for messages.
Result<std::unique_ptr<PageSource>> make_file_source(std::string_view uri, std::string_view path,
                                                     UniqueFd file);

}  // namespace migrate::memory
