// SPDX-License-Identifier: Apache-2.0
// The files that --reuse names, as known pages: an image, or the regions of a bundle. They are only
// read, with system calls, so a file that changes or shrinks meanwhile does no harm.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/file_identity.hpp"
#include "memory/sink/known_pages.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

struct ReuseFile {
    // The region that it belongs to; empty: the largest one.
    std::string region{};
    std::string path;  // for messages
    UniqueFd file;     // a regular file, open for reading
};

class ReuseFiles final : public KnownPages {
  public:
    // `lock` lives as long as this object: it keeps writers away from the files.
    ReuseFiles(std::string path, std::vector<ReuseFile> files, std::shared_ptr<void> lock = {})
        : path_(std::move(path)), files_(std::move(files)), lock_(std::move(lock)) {}

    // Called before read(): the regions that the sender offers. A file's pages stand for the pages
    // with the same numbers of its region; sizes may differ.
    void match(std::span<const RegionInfo> regions);
    // An Error if one of the files is one that the sink writes to.
    Status check_not_written(std::span<const SinkFile> written) const;

    // The path as the user gave it.
    const std::string& path() const { return path_; }
    void read(RegionId region, PageRange range, std::span<std::byte> to,
              std::vector<PageRange>& known) const override;

  private:
    std::string path_;
    std::vector<ReuseFile> files_;
    std::shared_ptr<void> lock_;
    std::vector<std::optional<std::size_t>> file_of_;  // by region
};

}  // namespace migrate::memory
