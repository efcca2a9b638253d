// SPDX-License-Identifier: Apache-2.0
// The folder of a bundle, and its files. A folder is used by one writer, or by any number of
// readers, at a time: a lock (flock(2)) sees to it. Invariants: a file is opened only if it is a
// regular file and no link; a new file has the mode 0600 and never replaces another one; the only
// name that is replaced is the manifest's, in one step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/file_identity.hpp"

namespace migrate::guest {

inline constexpr std::string_view kManifestName = "manifest.json";

// True for the manifest's name, and for those that BundleWriter gives: memory-N.ID, devices.ID and
// manifest.ID, where ID is new_bundle_id().
bool is_bundle_name(std::string_view name);
// 16 hex digits, at random.
Result<std::string> new_bundle_id();

// Makes the folder, with the mode 0700, unless there is something of that name. Its parent must
// exist. kUsage otherwise.
Status make_bundle_folder(const std::string& path);

class BundleFolder {
  public:
    enum class Use { kRead, kWrite };
    // kUsage says why the path is no folder that can be used so. An Error if another process uses
    // it.
    static Result<BundleFolder> open(const std::string& path, Use use);

    const std::string& path() const { return path_; }
    std::string path_of(std::string_view name) const;
    // Names of everything in it.
    Result<std::vector<std::string>> names() const;
    // True if it has an entry of that name, whatever its kind.
    bool has(const std::string& name) const;

    // For reading.
    Result<UniqueFd> open_file(const std::string& name) const;
    // For reading and writing.
    Result<UniqueFd> create_file(const std::string& name) const;
    // The content of a file of at most `most` bytes.
    Result<std::string> read(const std::string& name, std::uint64_t most) const;
    // Creates a file with that content, which need not be on the disk yet.
    Result<UniqueFd> write(const std::string& name, std::string_view content) const;

    // The file that was created as `from` becomes the manifest. The folder's names must be on the
    // disk before.
    Status publish_manifest(const std::string& from) const;
    // Succeeds too if there is no such file.
    Status remove(const std::string& name) const;
    // Waits until the names are on the disk.
    Status sync() const;

  private:
    BundleFolder(std::string path, UniqueFd folder)
        : path_(std::move(path)), folder_(std::move(folder)) {}

    std::string path_;
    UniqueFd folder_;  // holds the lock
};

}  // namespace migrate::guest
