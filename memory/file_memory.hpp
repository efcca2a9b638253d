// What kind of memory a file is, by which the kernel counts a process's pages of it.
#pragma once

#include <string>

#include "base/error.hpp"

namespace migrate::memory {

enum class FileMemory { kShmem, kHugetlb, kOnDisk };  // tmpfs and memfds; hugetlbfs; all others

// `path` is for the Error.
Result<FileMemory> file_memory_of(int fd, const std::string& path);

}  // namespace migrate::memory
