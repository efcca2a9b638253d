#include "memory/foreign_writers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>

namespace migrate::memory {
namespace {

constexpr std::array<std::string_view, 3> kDevices{"/dev/vfio/", "/dev/iommu", "/dev/vhost-vdpa"};
constexpr std::string_view kDirectScsi = "/dev/vhost-scsi";
constexpr std::string_view kIoUring = "anon_inode:[io_uring]";

// "flags:\t0140002", octal (proc(5))
std::uint64_t flags_of(pid_t pid, const std::string& number) {
    std::ifstream info(fmt::format("/proc/{}/fdinfo/{}", pid, number));
    for (std::string line; std::getline(info, line);) {
        if (line.starts_with("flags:")) return std::stoull(line.substr(6), nullptr, 8);
    }
    return 0;
}

}  // namespace

FileAccessPath access_path_of(std::string_view link, std::uint64_t flags) {
    for (const std::string_view device : kDevices) {
        if (link.starts_with(device)) return FileAccessPath::kDevice;
    }
    if (link == kIoUring || link.starts_with(kDirectScsi)) return FileAccessPath::kPinned;
    // A pipe's O_DIRECT is another thing, and what is only written to memory is read for.
    const bool reads = (flags & O_ACCMODE) != O_WRONLY;
    const bool direct = (flags & O_DIRECT) != 0 && link.starts_with('/');
    return direct && reads ? FileAccessPath::kPinned : FileAccessPath::kMarked;
}

std::string open_file_of(pid_t pid, FileAccessPath kind) {
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), ignored)) {
        std::error_code closed;
        std::string link = std::filesystem::read_symlink(entry.path(), closed).string();
        if (closed) continue;
        if (access_path_of(link, flags_of(pid, entry.path().filename().string())) == kind) {
            return link;
        }
    }
    return {};
}

std::string other_writer(const FileIdentity& file, pid_t owner) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
        const std::string name = entry.path().filename().string();
        pid_t pid = 0;
        const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) continue;
        if (pid == owner || pid == ::getpid()) continue;
        const auto mappings = shared_file_mappings(pid);
        if (mappings && !mappings_of(*mappings, file).empty()) return process_name(pid);
    }
    return {};
}

std::string unseen_writes(const MemoryOwner& owner) {
    if (owner.pid == 0) return "it is not known which process is " + owner.description;
    if (!owner.outside_writer.empty()) return owner.outside_writer;
    if (const std::string file = open_file_of(owner.pid, FileAccessPath::kPinned); !file.empty()) {
        return fmt::format(
            "{} has {} open for direct I/O, whose reads go to memory that was marked before",
            owner.description, file);
    }
    if (const std::string file = open_file_of(owner.pid, FileAccessPath::kDevice); !file.empty()) {
        return fmt::format("{} has {} open, whose device writes its memory by DMA",
                           owner.description, file);
    }
    for (const FileIdentity& file : owner.files) {
        if (const std::string writer = other_writer(file, owner.pid); !writer.empty()) {
            return fmt::format("{} has the memory mapped, too, and its writes would not be seen",
                               writer);
        }
    }
    return {};
}

}  // namespace migrate::memory
