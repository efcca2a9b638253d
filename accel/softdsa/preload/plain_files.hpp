// SPDX-License-Identifier: Apache-2.0
// Files by system calls, past this library's own hooks. Every function keeps errno, and returns
// what it read, or whether it succeeded.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace migrate::accel::softdsa::preload {

bool exists(const std::string& path);
bool is_link(const std::string& path);
// Reads a file of less than a page, without its final newline.
std::optional<std::string> read_text(const std::string& path);
// Replaces the content by `text` and a newline. A reader never sees an empty file meanwhile.
bool write_text(const std::string& path, std::string_view text);
bool make_symbolic_link(const std::string& target, const std::string& path);
bool make_hard_link(const std::string& existing, const std::string& path);
void remove_file(const std::string& path);
// Returns the path of an open file as the kernel knows it, with " (deleted)" behind it if it is.
std::string path_of(int fd);

// Parses a whole number, hexadecimal with "0x".
std::optional<std::uint64_t> parse_number(std::string_view text);

// Holds an exclusive flock() on a file for its lifetime; waits for it.
class FileLock {
  public:
    explicit FileLock(const std::string& path);
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;
    ~FileLock();

  private:
    long fd_;
};

}  // namespace migrate::accel::softdsa::preload
