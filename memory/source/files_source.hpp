// SPDX-License-Identifier: Apache-2.0
// Memory images in files, a region in each, which nobody may write while they are sent.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

struct RegionImage {
    std::string name;  // of the region
    std::string path;  // for messages
    UniqueFd file;     // a regular file, open for reading
};

// Each region has the size of its file. `uri` is for the description.
Result<std::unique_ptr<PageSource>> make_files_source(std::string_view uri,
                                                      std::vector<RegionImage> images);

}  // namespace migrate::memory
