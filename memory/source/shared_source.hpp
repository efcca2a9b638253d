// SPDX-License-Identifier: Apache-2.0
// Memory of another process as a source: files that it has mapped shared, mapped here for reading.
// population() reports the state at the time of the call; a dirty tracker sees pages that are
// written later.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

struct SharedRegion {
    std::string name;
    UniqueFd file;                 // open for reading; for a sink also for writing
    std::uint64_t size_bytes = 0;  // size of the region, which begins at the file's first byte
    std::string path;              // for messages
};

// `owner` has one entry per region, whose mappings cover the region. An Error if a file is shorter
// than its region or cannot be mapped.
Result<std::unique_ptr<PageSource>> open_shared_source(std::string_view uri,
                                                       std::vector<SharedRegion> regions,
                                                       MemoryOwner owner);

}  // namespace migrate::memory
