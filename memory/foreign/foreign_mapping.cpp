#include "memory/foreign/foreign_mapping.hpp"

#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <optional>

namespace migrate::memory {
namespace {

// Parses a line of /proc/PID/maps (proc(5)): "START-END PERMS OFFSET MAJOR:MINOR INODE   PATH".
std::optional<SharedFileMapping> parse_line(const std::string& line) {
    unsigned long long start = 0;
    unsigned long long end = 0;
    unsigned long long offset = 0;
    unsigned long long inode = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    char permissions[5] = {};
    int path = 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel wrote the text
    if (std::sscanf(line.c_str(), "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, permissions,
                    &offset, &major_number, &minor_number, &inode, &path) < 7) {
        return std::nullopt;
    }
    if (permissions[3] != 's' || inode == 0) return std::nullopt;
    return SharedFileMapping{{start, end - start, offset},
                             {makedev(major_number, minor_number), inode},
                             permissions[1] == 'w',
                             path == 0 ? std::string() : line.substr(static_cast<size_t>(path))};
}

bool continues(const SharedFileMapping& before, const SharedFileMapping& next) {
    return before.file == next.file && before.writable == next.writable &&
           before.where.end() == next.where.address &&
           before.where.file_offset + before.where.size == next.where.file_offset;
}

}  // namespace

Result<std::vector<SharedFileMapping>> shared_file_mappings(pid_t pid) {
    std::ifstream maps(fmt::format("/proc/{}/maps", pid));
    if (!maps) return Error::system(fmt::format("look at the memory of process {}", pid), errno);
    std::vector<SharedFileMapping> all;
    for (std::string line; std::getline(maps, line);) {
        std::optional<SharedFileMapping> mapping = parse_line(line);
        if (!mapping) continue;
        if (!all.empty() && continues(all.back(), *mapping)) {
            all.back().where.size += mapping->where.size;
        } else {
            all.push_back(*std::move(mapping));
        }
    }
    if (maps.bad()) return Error::system(fmt::format("read the maps of process {}", pid), errno);
    return all;
}

std::vector<ForeignMapping> mappings_of(const std::vector<SharedFileMapping>& all,
                                        const FileIdentity& file) {
    std::vector<ForeignMapping> found;
    for (const SharedFileMapping& mapping : all) {
        if (mapping.writable && mapping.file == file) found.push_back(mapping.where);
    }
    return found;
}

std::string process_name(pid_t pid) {
    std::ifstream comm(fmt::format("/proc/{}/comm", pid));
    std::string name;
    if (!comm || !std::getline(comm, name)) return fmt::format("process {}", pid);
    // A process chooses its own name, so control characters are replaced.
    std::replace_if(
        name.begin(), name.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; }, ' ');
    return fmt::format("{} (pid {})", name, pid);
}

}  // namespace migrate::memory
