// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/reuse_files.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file_io.hpp"

namespace migrate::memory {

void ReuseFiles::match(std::span<const RegionInfo> regions) {
    file_of_.assign(regions.size(), std::nullopt);
    const auto largest = std::max_element(
        regions.begin(), regions.end(),
        [](const RegionInfo& a, const RegionInfo& b) { return a.size_bytes < b.size_bytes; });
    for (std::size_t i = 0; i < files_.size(); ++i) {
        const auto region =
            files_[i].region.empty()
                ? largest
                : std::find_if(regions.begin(), regions.end(), [&](const RegionInfo& candidate) {
                      return candidate.name == files_[i].region;
                  });
        if (region != regions.end()) {
            file_of_[static_cast<std::size_t>(region - regions.begin())] = i;
        }
    }
}

Status ReuseFiles::check_not_written(std::span<const SinkFile> written) const {
    for (const ReuseFile& file : files_) {
        MIGRATE_ASSIGN(const FileIdentity identity, identify(file.file.get()));
        for (const SinkFile& target : written) {
            if (target.is_replaced || target.identity != identity) continue;
            return make_error(ErrorKind::kRefused,
                              "--reuse {}: the sink writes to this file ({}), so nothing of it "
                              "could be reused; name a copy of it",
                              file.path, target.path);
        }
    }
    return {};
}

void ReuseFiles::read(RegionId region, PageRange range, std::span<std::byte> to,
                      std::vector<PageRange>& known) const {
    const std::optional<std::size_t> file = file_of_[index_of(region)];
    if (!file) return;
    // Pages behind the end of the file, or that cannot be read, are not known.
    const std::uint64_t done =
        read_at(files_[*file].file.get(), range.offset_bytes(), to.first(range.size_bytes()));
    append_pages({range.first, done / kPageSize}, known);
}

}  // namespace migrate::memory
