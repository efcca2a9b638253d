// SPDX-License-Identifier: Apache-2.0
// Opens what --reuse names: an image, or the memory in a bundle.
#pragma once

#include <memory>
#include <string>

#include "base/error.hpp"
#include "memory/sink/reuse_files.hpp"

namespace migrate::guest {

// A folder is a bundle. Its lock is held while the files are in use, and its content is not
// checked: a damaged page is not reused. kUsage if the path is neither.
Result<std::unique_ptr<memory::ReuseFiles>> open_reuse_files(const std::string& path);

}  // namespace migrate::guest
