// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/foreign_writers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "memory/foreign/file_users.hpp"

namespace migrate::memory {
namespace {

constexpr std::array<std::string_view, 3> kDevices{"/dev/vfio/", "/dev/iommu", "/dev/vhost-vdpa"};
// These devices pin the pages that a request names: vhost-scsi, SCSI and NVMe commands, and RDMA.
constexpr std::array<std::string_view, 5> kPinning{"/dev/vhost-scsi", "/dev/sg", "/dev/bsg/",
                                                   "/dev/ng", "/dev/infiniband/"};
constexpr std::string_view kIoUring = "anon_inode:[io_uring]";
// File systems whose plain reads may pin pages, too: another process or host fills the pages in.
constexpr std::array<std::string_view, 5> kPinningFilesystems{"fuse", "virtiofs", "9p", "cifs",
                                                              "smb3"};

bool starts_with_any(std::string_view text, std::span<const std::string_view> prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(),
                       [&](std::string_view prefix) { return text.starts_with(prefix); });
}

// "fuse.sshfs" is FUSE; fuseblk (NTFS) reads through the page cache.
bool pins_for_reads(std::string_view filesystem) {
    const std::string_view type = filesystem.substr(0, filesystem.find('.'));
    return std::find(kPinningFilesystems.begin(), kPinningFilesystems.end(), type) !=
           kPinningFilesystems.end();
}

// Maps the number of each mount of the process to its file system type (proc(5)): "36 35 98:0 /root
// /mnt rw,noatime shared:1 - ext4 /dev/root rw".
std::map<std::string, std::string> mounts_of(pid_t pid) {
    std::map<std::string, std::string> types;
    std::ifstream mounts(fmt::format("/proc/{}/mountinfo", pid));
    for (std::string line; std::getline(mounts, line);) {
        const std::size_t type = line.find(" - ");
        if (type == std::string::npos) continue;
        const std::size_t begin = type + 3;
        types[line.substr(0, line.find(' '))] = line.substr(begin, line.find(' ', begin) - begin);
    }
    return types;
}

// The parsed lines of /proc/PID/fdinfo/N (proc(5)): "flags:\t0140002", octal, and "mnt_id:\t29".
struct FileInfo {
    std::uint64_t flags = 0;
    std::string mount;
};
FileInfo file_info_of(pid_t pid, const std::string& number) {
    std::ifstream info(fmt::format("/proc/{}/fdinfo/{}", pid, number));
    FileInfo found;
    for (std::string line; std::getline(info, line);) {
        if (line.starts_with("flags:")) found.flags = std::stoull(line.substr(6), nullptr, 8);
        if (line.starts_with("mnt_id:")) {
            found.mount = line.substr(std::min(line.find_first_of("0123456789"), line.size()));
        }
    }
    return found;
}

// If the first thread of a process has ended, only its other threads show the mappings.
Result<std::vector<SharedFileMapping>> mappings_of_process(pid_t pid) {
    auto mappings = shared_file_mappings(pid);
    if (mappings && !mappings->empty()) return mappings;
    std::error_code ignored;
    for (const auto& thread :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), ignored)) {
        const auto number = number_in_proc(thread.path().filename().string());
        if (!number || *number == pid) continue;
        auto others = shared_file_mappings(*number);
        if (!others || !others->empty()) return others;
    }
    return mappings;
}

}  // namespace

FileAccessPath access_path_of(const OpenFile& file) {
    if (starts_with_any(file.link, kDevices)) return FileAccessPath::kDevice;
    if (starts_with_any(file.link, kPinning)) return FileAccessPath::kPinned;
    if (file.link == kIoUring) return FileAccessPath::kRing;
    // O_DIRECT means something else on a pipe. I/O on a file that is open only for writing just
    // reads memory.
    const bool reads = (file.flags & O_ACCMODE) != O_WRONLY && file.link.starts_with('/');
    const bool pins = (file.flags & O_DIRECT) != 0 || pins_for_reads(file.filesystem);
    return reads && pins ? FileAccessPath::kPinned : FileAccessPath::kMarked;
}

std::map<FileAccessPath, std::string> unmarked_files_of(pid_t pid) {
    const std::map<std::string, std::string> mounts = mounts_of(pid);
    std::map<FileAccessPath, std::string> files;
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), ignored)) {
        std::error_code closed;
        std::string link = std::filesystem::read_symlink(entry.path(), closed).string();
        if (closed) continue;
        const FileInfo info = file_info_of(pid, entry.path().filename().string());
        const auto mount = mounts.find(info.mount);
        const std::string_view type = mount == mounts.end() ? std::string_view() : mount->second;
        const FileAccessPath kind = access_path_of({link, info.flags, type});
        if (kind != FileAccessPath::kMarked) files.emplace(kind, std::move(link));
    }
    return files;
}

std::string open_file_of(pid_t pid, FileAccessPath kind) {
    const auto files = unmarked_files_of(pid);
    const auto found = files.find(kind);
    return found == files.end() ? std::string() : found->second;
}

OtherWriters find_other_writers(const FileIdentity& file, std::uint64_t bytes, FileMemory memory,
                                pid_t owner) {
    OtherWriters others;
    std::size_t count = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
        const auto pid = number_in_proc(entry.path().filename().string());
        if (!pid || *pid == owner || *pid == ::getpid()) continue;
        const auto mappings = mappings_of_process(*pid);
        if (mappings && !mappings_of(*mappings, file).empty()) {
            others.writer = process_name(*pid);
            return others;
        }
        if (mappings || !may_use_memory(*pid, bytes, memory)) continue;
        if (count++ == 0) {
            others.unknown = fmt::format("{}: {}", process_name(*pid), mappings.error().message());
        }
    }
    if (count > 1) others.unknown += fmt::format(", and {} more", count - 1);
    if (ignored) others.unknown = "/proc cannot be read: " + ignored.message();
    if (!proc_shows_all_users()) {
        others.unknown = "/proc hides the processes of other users (hidepid)";
    }
    return others;
}

std::string unseen_own_writes(const MemoryOwner& owner, const std::optional<std::string>& said) {
    if (owner.pid == 0) return "the process is not known: " + owner.description;
    if (said && !said->empty()) return *said;
    const auto files = unmarked_files_of(owner.pid);
    if (const auto pinned = files.find(FileAccessPath::kPinned); pinned != files.end()) {
        return fmt::format(
            "{} has {} open for direct I/O, whose reads go to memory that was marked before",
            owner.description, pinned->second);
    }
    if (!said && files.contains(FileAccessPath::kRing)) {
        return fmt::format(
            "{} has an io_uring, through which direct I/O may write memory that was marked before",
            owner.description);
    }
    if (const auto device = files.find(FileAccessPath::kDevice); device != files.end()) {
        return fmt::format("{} has {} open, whose device writes its memory by DMA",
                           owner.description, device->second);
    }
    return {};
}

UnseenWrites unseen_writes(const MemoryOwner& owner, const std::optional<std::string>& said) {
    UnseenWrites unseen{unseen_own_writes(owner, said), {}};
    if (!unseen.reason.empty()) return unseen;
    for (std::size_t i = 0; i < owner.files.size(); ++i) {
        if (owner.is_private(i)) continue;
        std::uint64_t bytes = 0;
        for (const ForeignMapping& mapping : owner.regions[i]) bytes += mapping.size;
        OtherWriters others = find_other_writers(owner.files[i], bytes, owner.kinds[i], owner.pid);
        if (!others.writer.empty()) {
            unseen.reason = fmt::format(
                "{} has the memory mapped, too, and its writes would not be seen", others.writer);
            return unseen;
        }
        if (unseen.unknown.empty()) unseen.unknown = std::move(others.unknown);
    }
    if (!said && !unseen.unknown.empty()) {
        unseen.reason = fmt::format(
            "whether another process writes the memory of {} is not known ({}); run migrate as "
            "root",
            owner.description, unseen.unknown);
    }
    return unseen;
}

}  // namespace migrate::memory
