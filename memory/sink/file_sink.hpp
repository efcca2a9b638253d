// SPDX-License-Identifier: Apache-2.0
// Keeps the received image in a file that appears under its name only when it is complete. One
// region.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

// `uri` is for the description. kUsage if the path cannot become a file.
Result<std::unique_ptr<PageSink>> open_file_sink(std::string_view uri, std::string_view path);

}  // namespace migrate::memory
