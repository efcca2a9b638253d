// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/process_maps.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

namespace migrate::memory {
namespace {

// Opens `path` if it leads to that file; checked before and after opening.
UniqueFd open_if_same(const std::string& path, const FileIdentity& file, int flags) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
    if (FileIdentity{status.st_dev, status.st_ino} != file) return {};
    UniqueFd opened(::open(path.c_str(), flags | O_CLOEXEC));
    if (!opened) return {};
    const auto identity = identify(opened.get());
    return identity && *identity == file ? std::move(opened) : UniqueFd();
}

}  // namespace

std::optional<ProcessMapping> parse_mapping(const std::string& line) {
    unsigned long long start = 0;
    unsigned long long end = 0;
    unsigned long long offset = 0;
    unsigned long long inode = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    char permissions[5] = {};
    int path = 0;
    // "START-END PERMS OFFSET MAJOR:MINOR INODE   PATH"
    // NOLINTNEXTLINE(cert-err34-c): the kernel wrote the text
    if (std::sscanf(line.c_str(), "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, permissions,
                    &offset, &major_number, &minor_number, &inode, &path) < 7) {
        return std::nullopt;
    }
    return ProcessMapping{
        .start = start,
        .end = end,
        .readable = permissions[0] == 'r',
        .writable = permissions[1] == 'w',
        .shared = permissions[3] == 's',
        .file_offset = offset,
        .file = {inode == 0 ? 0 : makedev(major_number, minor_number), inode},
        .path = path == 0 ? std::string() : line.substr(static_cast<std::size_t>(path))};
}

Result<std::vector<ProcessMapping>> process_mappings(pid_t pid) {
    std::ifstream maps(fmt::format("/proc/{}/maps", pid));
    if (!maps) return Error::system(fmt::format("look at the memory of process {}", pid), errno);
    std::vector<ProcessMapping> all;
    for (std::string line; std::getline(maps, line);) {
        if (auto mapping = parse_mapping(line)) all.push_back(*std::move(mapping));
    }
    if (maps.bad()) return Error::system(fmt::format("read the maps of process {}", pid), errno);
    return all;
}

UniqueFd open_by_process(pid_t pid, const FileIdentity& file, int flags) {
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), ignored)) {
        UniqueFd opened = open_if_same(entry.path().string(), file, flags);
        if (opened) return opened;
    }
    return {};
}

Result<UniqueFd> open_mapped_file(pid_t pid, const ProcessMapping& mapping, int flags) {
    const std::string link =
        fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, mapping.start, mapping.end);
    UniqueFd opened(::open(link.c_str(), flags | O_CLOEXEC));
    if (opened) return opened;
    const int code = errno;
    opened = open_by_process(pid, mapping.file, flags);
    if (opened) return opened;
    opened = open_if_same(mapping.path, mapping.file, flags);
    if (opened) return opened;
    return Error::system(fmt::format("open {}, which process {} has mapped", mapping.path, pid),
                         code);
}

}  // namespace migrate::memory
