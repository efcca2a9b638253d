// SPDX-License-Identifier: Apache-2.0
// A folder of its own for a test, removed with all that is in it.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/units.hpp"

namespace migrate {

class TemporaryFolder {
  public:
    explicit TemporaryFolder(const std::string& parent = std::filesystem::temp_directory_path()) {
        std::string pattern = parent + "/migrate-test-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        path_ = pattern;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::string& path() const { return path_; }
    std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
    std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(path_)) {
            names.push_back(entry.path().filename().string());
        }
        return names;
    }

  private:
    std::string path_;
};

// A file system mounted for a test, as root; false where that is not allowed.
class TemporaryMount {
  public:
    TemporaryMount(const char* type, const std::string& options)
        : mounted_(::mount("none", folder_.path().c_str(), type, 0, options.c_str()) == 0) {}
    TemporaryMount(const TemporaryMount&) = delete;
    TemporaryMount& operator=(const TemporaryMount&) = delete;
    ~TemporaryMount() {
        if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
    }
    explicit operator bool() const { return mounted_; }
    const TemporaryFolder& folder() const { return folder_; }

  private:
    TemporaryFolder folder_;
    bool mounted_;
};

inline void write_file(const std::string& path, std::string_view content) {
    std::ofstream(path, std::ios::binary) << content;
}

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// A sparse file of `pages` pages of which those listed hold their own number's low byte, or 1 if
// that is zero.
inline void write_sparse_file(const std::string& path, std::uint64_t pages,
                              const std::vector<std::uint64_t>& written) {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(pages * kPageSize)) != 0) std::abort();
    for (const std::uint64_t page : written) {
        const auto value = static_cast<char>(page % 256 == 0 ? 1 : page % 256);
        const std::string content(kPageSize, value);
        const auto offset = static_cast<off_t>(page * kPageSize);
        if (::pwrite(file.get(), content.data(), kPageSize, offset) != ssize_t{kPageSize})
            std::abort();
    }
}

}  // namespace migrate
