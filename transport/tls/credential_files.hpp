// SPDX-License-Identifier: Apache-2.0
// The files of certificates and keys. Invariants: a file that only its owner should read is not
// used if every user of this host may read it; secrets are erased from memory when they are no
// longer needed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace migrate::transport {

// Text that is erased when it goes.
class SecretText {
  public:
    SecretText() = default;
    explicit SecretText(std::string text) : text_(std::move(text)) {}
    SecretText(SecretText&& other) noexcept : text_(std::move(other.text_)) { other.erase(); }
    SecretText& operator=(SecretText&& other) noexcept;
    SecretText(const SecretText&) = delete;
    SecretText& operator=(const SecretText&) = delete;
    ~SecretText() { erase(); }

    std::string_view view() const { return text_; }
    bool empty() const { return text_.empty(); }

  private:
    void erase();
    std::string text_;
};

// Tells whether a file was changed or replaced since it was read.
struct FileStamp {
    std::string path;
    bool exists = false;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const FileStamp&) const = default;
};
FileStamp stamp_of(const std::string& path);

enum class FileUse {
    kPublic,    // a certificate
    kOptional,  // the same; need not exist
    kSecret,    // a key
};

// Reads a whole file, of at most 1 MiB, and adds its stamp to `stamps`. kUsage if it does not exist
// (unless kOptional, which gives empty text), is empty, is not a regular file or cannot be read,
// and for kSecret if every user may read or write it.
Result<SecretText> read_credential_file(const std::string& path, FileUse use,
                                        std::vector<FileStamp>& stamps);

}  // namespace migrate::transport
