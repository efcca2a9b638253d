// SPDX-License-Identifier: Apache-2.0
// Finds the places where another process has files mapped: a guest's memory as seen from outside
// its VMM. Invariant: addresses belong to the other process and are never dereferenced here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "memory/file_memory.hpp"
#include "memory/foreign/private_mapping.hpp"

namespace migrate::memory {

// The file behind a mapping or a descriptor. /proc/PID/maps agrees with stat(2) only if the file
// system has one device number (not btrfs, and not every overlay).
using migrate::FileIdentity;
using migrate::identify;

struct ForeignMapping {
    std::uint64_t address = 0;
    std::uint64_t size = 0;         // bytes
    std::uint64_t file_offset = 0;  // bytes
    std::uint64_t end() const { return address + size; }
};

// A shared mapping of a file; adjacent mappings that continue each other count as one.
struct SharedFileMapping {
    ForeignMapping where;
    FileIdentity file;
    bool writable = false;
    std::string path;  // as in /proc/PID/maps, " (deleted)" included
};

// The process that writes some memory, if it is not this one, and its mappings of each region.
struct MemoryOwner {
    pid_t pid = 0;            // 0: not known
    std::string description;  // "qemu-system-x86 (pid 4711)"
    // Why writes past the owner's page tables are possible, by its own answer, as a clause; empty:
    // they are not. Unset: the owner cannot be asked.
    std::optional<std::string> outside_writer;
    // The file behind each region; FileIdentity() for memory that is private to the process.
    std::vector<FileIdentity> files;
    std::vector<std::vector<ForeignMapping>> regions;  // all mappings of each region
    std::vector<FileMemory> kinds{};  // kind of each region's file; the source sets it
    // The mappings of private memory when it was opened, one entry per region. Empty: not known, or
    // the region is shared.
    std::vector<std::vector<PrivateMapping>> private_mappings{};

    // True if no other process can have this region mapped.
    bool is_private(std::size_t region) const { return files[region] == FileIdentity(); }
};

// Returns all shared file mappings of the process, by address. An Error if the process is gone or
// may not be examined.
Result<std::vector<SharedFileMapping>> shared_file_mappings(pid_t pid);
// The same among mappings that were listed before.
std::vector<SharedFileMapping> shared_file_mappings(std::span<const ProcessMapping> mappings);
// Returns the writable mappings of this file.
std::vector<ForeignMapping> mappings_of(const std::vector<SharedFileMapping>& all,
                                        const FileIdentity& file);

// Returns "NAME (pid PID)", for messages.
std::string process_name(pid_t pid);

}  // namespace migrate::memory
