// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/files_sink.hpp"

#include <utility>

namespace migrate::memory {

Status FilesSink::prepare(std::span<const RegionInfo> regions) {
    for (std::size_t i = 0; i < regions.size(); ++i) {
        MIGRATE_ASSIGN(NewFile made, make_(i));
        MIGRATE_ASSIGN(
            RegionFile file,
            RegionFile::create(std::move(made.file), regions[i].size_bytes, std::move(made.path)));
        files_.push_back(std::move(file));
        regions_.push_back(regions[i]);
    }
    return {};
}

Status FilesSink::flush() const {
    for (const RegionFile& file : files_) MIGRATE_TRY(file.write_back(stop_));
    return {};
}

std::vector<Digest> FilesSink::digests() const {
    std::vector<Digest> digests;
    digests.reserve(files_.size());
    for (const RegionFile& file : files_) digests.push_back(file.digest());
    return digests;
}

}  // namespace migrate::memory
