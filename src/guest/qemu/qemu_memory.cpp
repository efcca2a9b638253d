// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/qemu_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <span>

#include "base/config/form_tables.hpp"
#include "base/regular_file.hpp"
#include "guest/qemu/process_proof.hpp"
#include "guest/qemu/qemu_devices.hpp"
#include "memory/foreign/process_maps.hpp"
#include "memory/foreign/still_mapped.hpp"

namespace migrate::guest {
namespace {

using memory::FileIdentity;
using memory::ForeignMapping;
using memory::SharedFileMapping;

constexpr std::string_view kHowTo =
    "QEMU 8.0 and later move with any memory, if their process can be accessed; otherwise start "
    "QEMU with -object memory-backend-file,id=ID,size=SIZE,mem-path=/dev/shm/NAME,share=on (or "
    "memory-backend-memfd) and -machine memory-backend=ID, or a -numa node,memdev=ID each";

Status check_backends(const std::vector<MemoryBackend>& backends, std::uint64_t memory_bytes) {
    if (backends.empty()) return make_error("its memory is no memory backend; {}", kHowTo);
    std::uint64_t sum = 0;
    for (const MemoryBackend& backend : backends) {
        if (!backend.shared) {
            return make_error("its memory backend '{}' is private to QEMU (no share=on); {}",
                              backend.id, kHowTo);
        }
        if (backend.size_bytes == 0 || backend.size_bytes % kPageSize != 0) {
            return make_error("its memory backend '{}' has an odd size of {} bytes", backend.id,
                              backend.size_bytes);
        }
        sum += backend.size_bytes;
    }
    if (sum >= memory_bytes) return {};
    return make_error("it has {} MiB of memory, and its memory backends {} MiB; {}",
                      memory_bytes / kMiB, sum / kMiB, kHowTo);
}

// Names that QEMU gives to files without a name: hostmem-memfd.c, and file_ram_open() if the
// mem-path is a folder; the latter uses the name of the RAM block with its slashes replaced. That
// name is the backend's id with machine types before 4.0 (x-use-canonical-path-for-ramblock-id),
// else its path.
bool could_be(const SharedFileMapping& mapping, const MemoryBackend& backend) {
    if (!mapping.writable || mapping.where.size != backend.size_bytes) return false;
    if (mapping.where.file_offset != 0) return false;
    if (backend.type == "memory-backend-memfd") {
        return mapping.path.starts_with("/memfd:memory-backend-memfd");
    }
    const std::string file = std::filesystem::path(mapping.path).filename();
    // The file was removed since QEMU opened it.
    const std::string name = std::filesystem::path(backend.path).filename();
    if (!name.empty() && file == name + " (deleted)") return true;
    return file.starts_with("qemu_back_mem." + backend.id + ".") ||
           file.starts_with("qemu_back_mem._objects_" + backend.id + ".");
}

Result<FileIdentity> find_unnamed(const std::vector<SharedFileMapping>& mappings,
                                  const MemoryBackend& backend) {
    std::optional<FileIdentity> found;
    for (const SharedFileMapping& mapping : mappings) {
        if (!could_be(mapping, backend)) continue;
        if (found && *found != mapping.file) {
            return make_error(
                "its memory backend '{}' cannot be told from another of the same size: use "
                "memory-backend-file with a mem-path each",
                backend.id);
        }
        found = mapping.file;
    }
    if (found) return *found;
    return make_error("the memory of its backend '{}' ({}) was not found in the process",
                      backend.id, backend.type);
}

bool is_named_file(const std::string& path) {
    struct stat status {};
    return !path.empty() && ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::uint64_t covered(const std::vector<ForeignMapping>& mappings) {
    std::uint64_t bytes = 0;
    for (const ForeignMapping& mapping : mappings) bytes += mapping.size;
    return bytes;
}

// Adds a backend's file and the place where the process maps it.
Status add_backend(QemuMemory& memory, const std::vector<SharedFileMapping>& mappings,
                   const MemoryBackend& backend, int flags) {
    const pid_t pid = memory.owner.pid;
    UniqueFd file;
    if (is_named_file(backend.path)) {
        MIGRATE_ASSIGN(file, open_regular_file(backend.path, flags));
    } else if (pid == 0) {
        return make_error(
            "its memory backend '{}' has no file's name, and the process is not "
            "known: say which with pid=PID",
            backend.id);
    } else {
        MIGRATE_ASSIGN(const FileIdentity identity, find_unnamed(mappings, backend));
        file = memory::open_by_process(pid, identity, flags);
        if (!file) return make_error("the file of its backend '{}' cannot be opened", backend.id);
    }
    MIGRATE_ASSIGN(const FileIdentity identity, memory::identify(file.get()));
    std::vector<ForeignMapping> where = memory::mappings_of(mappings, identity);
    if (pid != 0 &&
        (where.size() != 1 || where[0].file_offset != 0 || covered(where) != backend.size_bytes)) {
        return make_error(
            "process {} does not have {} mapped as the whole of its backend '{}'; is it this QEMU? "
            "(pid=PID says which process it is)",
            pid, backend.path.empty() ? "the file" : backend.path, backend.id);
    }
    memory.owner.files.push_back(identity);
    memory.owner.regions.push_back(std::move(where));
    memory.regions.push_back({backend.id, std::move(file), backend.size_bytes,
                              backend.path.empty() ? backend.id : backend.path});
    return {};
}

Result<OpenedMemory> remember(const QemuMemory& memory, MemoryLayout layout) {
    OpenedMemory opened{std::move(layout), memory.owner, {}, {}, {}};
    for (const memory::SharedRegion& region : memory.regions) {
        opened.regions.push_back({region.name, region.size_bytes});
        UniqueFd copy(::fcntl(region.file.get(), F_DUPFD_CLOEXEC, 0));
        if (!copy) return Error::system("duplicate a file descriptor", errno);
        opened.files.push_back(std::move(copy));
    }
    return opened;
}

Status check_file_size(const UniqueFd& file, const RegionInfo& region) {
    if (!file) return {};
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) {
        return Error::system(fmt::format("examine the file of '{}'", region.name), errno);
    }
    if (static_cast<std::uint64_t>(status.st_size) >= region.size_bytes) return {};
    return make_error("the file of its memory backend '{}' shrank from {} to {} bytes", region.name,
                      region.size_bytes, status.st_size);
}

Status check_all_the_same(Monitor& monitor, const OpenedMemory& opened, LayoutSince since) {
    // The mappings are read while QEMU answers what was asked ahead. Its own answers name a
    // difference better, so they count first.
    Status mapped = memory::check_still_mapped(opened.owner, opened.regions);
    // If QEMU's mappings cannot be seen, only its own answers are available.
    MIGRATE_ASSIGN(const MemoryLayout now, opened.owner.pid == 0
                                               ? query_memory_layout(monitor)
                                               : query_memory_layout_again(monitor, opened.layout));
    MIGRATE_TRY(check_same_layout(opened.layout, now, since));
    if (opened.blocks) {
        MIGRATE_ASSIGN(const auto blocks, query_ram_blocks(monitor));
        if (!blocks) return Error("QEMU no longer lists its RAM blocks");
        MIGRATE_TRY(check_same_blocks(*opened.blocks, *blocks));
    }
    for (std::size_t i = 0; i < opened.files.size(); ++i) {
        MIGRATE_TRY(check_file_size(opened.files[i], opened.regions[i]));
    }
    return mapped;
}

}  // namespace

Status check_same_memory(Monitor& monitor, const OpenedMemory& opened, LayoutSince since) {
    Status same = check_all_the_same(monitor, opened, since);
    if (same) return {};
    return std::move(same).error().with_context(
        "QEMU's memory must not change until the migration has ended; migrate again");
}

Result<QemuMemory> find_qemu_memory(Monitor& monitor, pid_t pid, FileAccess access) {
    MIGRATE_ASSIGN(MemoryLayout layout, query_memory_layout(monitor));
    const std::vector<MemoryBackend>& backends = layout.backends;
    for (const MemoryBackend& backend : backends) {
        // From 8.1 on x-ignore-shared skips only files with a name: all of a memfd would go into
        // the devices' stream while the guest is paused.
        if (backend.type == "memory-backend-memfd" && monitor.is_at_least(8, 1)) {
            return make_error(
                "its memory backend '{}' is a memfd, which QEMU {} would put among its devices; "
                "use memory-backend-file with a mem-path",
                backend.id, monitor.version());
        }
    }
    MIGRATE_TRY(check_backends(backends, layout.bytes));
    QemuMemory memory;
    memory.owner.pid = pid != 0 ? pid : monitor.peer_pid();
    memory.owner.description = memory.owner.pid == 0 ? "QEMU, in another PID namespace"
                                                     : memory::process_name(memory.owner.pid);
    if (memory.owner.pid != 0) {
        MIGRATE_TRY(check_is_qemu(monitor, memory.owner.pid));
    } else if (access == FileAccess::kWrite) {
        return Error(
            "its process is in another PID namespace, so that it cannot be told whose memory would "
            "be written: run migrate in QEMU's namespace or in the host's");
    }
    MIGRATE_TRY(check_no_host_device(monitor, memory.owner.pid));
    MIGRATE_ASSIGN(memory.owner.outside_writer, outside_writer(monitor));
    std::vector<SharedFileMapping> mappings;
    if (memory.owner.pid != 0) {
        MIGRATE_ASSIGN(mappings, memory::shared_file_mappings(memory.owner.pid));
    }
    const int flags = (access == FileAccess::kRead ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    for (const MemoryBackend& backend : backends) {
        MIGRATE_TRY(add_backend(memory, mappings, backend, flags));
    }
    MIGRATE_ASSIGN(memory.opened, remember(memory, std::move(layout)));
    return memory;
}

QemuAddress qemu_source_address(const ParsedForm& parsed) {
    const Words<kQemuSourceWords> words(parsed);
    return {.socket = parsed.operand.value.text,
            .pid = words.get<"pid", pid_t>(),
            .differences = words.get<"machine-differences", MachineDifferences>()};
}

QemuAddress qemu_sink_address(const ParsedForm& parsed) {
    const Words<kQemuSinkWords> words(parsed);
    return {.socket = parsed.operand.value.text,
            .pid = words.get<"pid", pid_t>(),
            .unseen = words.get<"unseen-processes", UnseenProcesses>(),
            .differences = words.get<"machine-differences", MachineDifferences>()};
}

}  // namespace migrate::guest
