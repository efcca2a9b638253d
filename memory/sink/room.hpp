// SPDX-License-Identifier: Apache-2.0
// How much a sink can take in, as far as that is known before the first page: a migration that
// cannot fit is better seen then than when the kernel ends the receiver.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace migrate::memory {

// A limit of what may still be written.
struct Room {
    std::uint64_t bytes = 0;
    std::string where;   // "the file system of /var/tmp/guest.mem"
    std::string remedy;  // "free space there"
};

// The bytes that the open file `fd` has already, and those that its file system has free for this
// user; `path` is for the text. Nothing if the kernel does not say.
std::optional<Room> room_of_file(int fd, const std::string& path);

// The memory that this process may still use under memory.max of its cgroup and of those above it
// (cgroup version 2): the least. Nothing if there is no limit. Memory of tmpfs counts as well.
// `groups` and `root` are for tests.
std::optional<Room> room_of_cgroup(const std::filesystem::path& groups = "/proc/self/cgroup",
                                   const std::filesystem::path& root = "/sys/fs/cgroup");

// The memory that the host has available for processes (MemAvailable and SwapFree of
// /proc/meminfo).
std::optional<Room> room_of_host(const std::filesystem::path& meminfo = "/proc/meminfo");

// The rooms of memory that this process allocates, and of a file.
std::vector<Room> rooms_of_memory();
std::vector<Room> rooms_of_file(int fd, const std::string& path);

// Returns a warning for each room that is smaller than `bytes`.
std::vector<std::string> room_warnings(std::uint64_t bytes, const std::vector<Room>& rooms);

}  // namespace migrate::memory
