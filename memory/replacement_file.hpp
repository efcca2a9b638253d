// A file that takes another's place in one step when it is complete.
// Invariant: until publish() the target is as it was, and destruction leaves nothing in its folder.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

class ReplacementFile {
  public:
    // Checks what can be checked without creating anything: the folder exists and is writable, what
    // bears the name is a regular file or nothing. Symbolic links are followed: the file they lead
    // to is replaced.
    static Result<ReplacementFile> create(std::string_view path);

    ReplacementFile(ReplacementFile&& other) noexcept;
    ReplacementFile& operator=(ReplacementFile&&) = delete;
    ReplacementFile(const ReplacementFile&) = delete;
    ReplacementFile& operator=(const ReplacementFile&) = delete;
    ~ReplacementFile();

    // The path as the user gave it.
    const std::string& path() const { return path_; }
    // An empty file without a name, or with a hidden one where the file system must have one; open
    // for reading and writing. It has the mode and owner of the file it replaces, or those of any
    // new file.
    Result<UniqueFd> open_temporary();
    // Puts the file open_temporary() gave, whose content is durable already, in the target's place.
    Status publish(int fd);

  private:
    ReplacementFile(std::string path, UniqueFd folder, std::string name)
        : path_(std::move(path)), folder_(std::move(folder)), name_(std::move(name)) {}
    Result<UniqueFd> open_hidden();
    std::string hidden_name() const;
    Status copy_attributes(int fd) const;
    Status link_hidden(int fd);

    std::string path_;
    UniqueFd folder_;
    std::string name_;    // of the target, in folder_
    std::string hidden_;  // of the temporary, in folder_; empty while it has none
};

}  // namespace migrate::memory
