// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/room.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "base/config/unit_text.hpp"
#include "base/units.hpp"
#include "memory/file_memory.hpp"

namespace migrate::memory {
namespace {

// A file of cgroups that holds one number; nothing for "max" and for a file that is not there.
std::optional<std::uint64_t> read_number(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::uint64_t number = 0;
    return file >> number ? std::optional(number) : std::nullopt;
}

// The process's cgroup of version 2: the line "0::/path" (cgroups(7)).
std::optional<std::filesystem::path> own_group(const std::filesystem::path& groups) {
    std::ifstream file(groups);
    for (std::string line; std::getline(file, line);) {
        constexpr std::string_view kVersion2 = "0::/";
        if (line.starts_with(kVersion2)) return line.substr(kVersion2.size());
    }
    return std::nullopt;
}

}  // namespace

std::optional<Room> room_of_file(int fd, const std::string& path) {
    constexpr std::uint64_t kBlock = 512;  // of st_blocks
    struct statvfs system {};
    struct stat status {};
    // A file system without blocks of its own (ramfs, some of FUSE) has no limit either.
    if (::fstatvfs(fd, &system) != 0 || system.f_blocks == 0) return std::nullopt;
    if (::fstat(fd, &status) != 0) return std::nullopt;
    return Room{std::uint64_t{system.f_bavail} * system.f_frsize +
                    static_cast<std::uint64_t>(status.st_blocks) * kBlock,
                fmt::format("the file system of {}", path), "free space there"};
}

std::vector<Room> rooms_of_memory() {
    std::vector<Room> rooms;
    if (auto room = room_of_cgroup()) rooms.push_back(*std::move(room));
    if (auto room = room_of_host()) rooms.push_back(*std::move(room));
    return rooms;
}

std::vector<Room> rooms_of_file(int fd, const std::string& path) {
    std::vector<Room> rooms = is_in_ram(fd) ? rooms_of_memory() : std::vector<Room>();
    if (auto room = room_of_file(fd, path)) rooms.push_back(*std::move(room));
    return rooms;
}

std::optional<Room> room_of_cgroup(const std::filesystem::path& groups,
                                   const std::filesystem::path& root) {
    const auto own = own_group(groups);
    if (!own) return std::nullopt;
    std::optional<Room> least;
    for (std::filesystem::path group = *own; !group.empty(); group = group.parent_path()) {
        const auto limit = read_number(root / group / "memory.max");
        const auto used = read_number(root / group / "memory.current");
        if (!limit || !used) continue;
        const std::uint64_t left = *limit - std::min(*limit, *used);
        if (least && least->bytes <= left) continue;
        least = Room{left, fmt::format("the cgroup /{}", group.string()),
                     "raise its memory.max, or the kernel ends this process"};
    }
    return least;
}

std::optional<Room> room_of_host(const std::filesystem::path& meminfo) {
    std::ifstream file(meminfo);
    std::uint64_t kib = 0;
    bool found = false;
    for (std::string line; std::getline(file, line);) {
        for (const std::string_view name : {"MemAvailable:", "SwapFree:"}) {
            if (!line.starts_with(name)) continue;
            kib += std::strtoull(line.c_str() + name.size(), nullptr, 10);
            found = true;
        }
    }
    if (!found) return std::nullopt;
    return Room{kib * kKiB, "this host's memory", "free memory, or the kernel ends processes"};
}

std::vector<std::string> room_warnings(std::uint64_t bytes, const std::vector<Room>& rooms) {
    std::vector<std::string> warnings;
    for (const Room& room : rooms) {
        if (room.bytes >= bytes) continue;
        warnings.push_back(fmt::format(
            "the guest has {}, and {} has room for {} only: if more was written to, the "
            "migration fails before it is complete ({})",
            format_bytes(bytes), room.where, format_bytes(room.bytes), room.remedy));
    }
    return warnings;
}

}  // namespace migrate::memory
