// SPDX-License-Identifier: Apache-2.0
// The kind of memory that holds a file. The kernel counts a process's pages by kind.
#pragma once

#include <string>

#include "base/error.hpp"

namespace migrate::memory {

enum class FileMemory { kShmem, kHugetlb, kOnDisk };  // tmpfs and memfds; hugetlbfs; all others

// `path` is for the Error.
Result<FileMemory> file_memory_of(int fd, const std::string& path);

// True if the file is on a file system that keeps it in memory only: nothing is to be synced there.
bool is_in_ram(int fd);

}  // namespace migrate::memory
