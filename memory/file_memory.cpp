// SPDX-License-Identifier: Apache-2.0
#include "memory/file_memory.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <cerrno>

namespace migrate::memory {

Result<FileMemory> file_memory_of(int fd, const std::string& path) {
    struct statfs system {};
    if (::fstatfs(fd, &system) != 0) {
        return Error::system("examine the file system of " + path, errno);
    }
    if (system.f_type == TMPFS_MAGIC) return FileMemory::kShmem;
    if (system.f_type == HUGETLBFS_MAGIC) return FileMemory::kHugetlb;
    return FileMemory::kOnDisk;
}

bool is_in_ram(int fd) {
    struct statfs system {};
    if (::fstatfs(fd, &system) != 0) return false;
    return system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC ||
           system.f_type == RAMFS_MAGIC;
}

}  // namespace migrate::memory
