// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/foreign_mapping.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "memory/foreign/process_maps.hpp"

namespace migrate::memory {
namespace {

bool continues(const SharedFileMapping& before, const SharedFileMapping& next) {
    return before.file == next.file && before.writable == next.writable &&
           before.where.end() == next.where.address &&
           before.where.file_offset + before.where.size == next.where.file_offset;
}

}  // namespace

Result<std::vector<SharedFileMapping>> shared_file_mappings(pid_t pid) {
    MIGRATE_ASSIGN(const std::vector<ProcessMapping> mappings, process_mappings(pid));
    return shared_file_mappings(mappings);
}

std::vector<SharedFileMapping> shared_file_mappings(std::span<const ProcessMapping> mappings) {
    std::vector<SharedFileMapping> all;
    for (const ProcessMapping& found : mappings) {
        if (!found.shared || found.file.inode == 0) continue;
        SharedFileMapping mapping{{found.start, found.end - found.start, found.file_offset},
                                  found.file,
                                  found.writable,
                                  found.path};
        if (!all.empty() && continues(all.back(), mapping)) {
            all.back().where.size += mapping.where.size;
        } else {
            all.push_back(std::move(mapping));
        }
    }
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
