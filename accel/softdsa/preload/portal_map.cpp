// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/portal_map.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

std::uint64_t page_of(std::uint64_t address) { return address & ~(kPageBytes - 1); }
std::size_t place_of(std::uint64_t page) { return page / kPageBytes % 256; }

// Reads /proc/self/maps character by character, because functions that use the library's stdio or
// heap may not be called here. A line is "BEGIN-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH".
class MapsReader {
  public:
    MapsReader() {
        fd_ = static_cast<int>(
            raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0));
    }
    MapsReader(const MapsReader&) = delete;
    MapsReader& operator=(const MapsReader&) = delete;
    ~MapsReader() {
        if (fd_ >= 0) raw_syscall(SYS_close, fd_);
    }

    struct Line {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        dev_t file_system = 0;
        std::uint64_t inode = 0;
    };
    bool next(Line& line) {
        line.begin = number(16);
        line.end = number(16);
        skip_word();
        number(16);
        const auto major = static_cast<unsigned>(number(16));
        const auto minor = static_cast<unsigned>(number(16));
        line.file_system = gnu_dev_makedev(major, minor);
        line.inode = number(10);
        while (last_ != '\n' && last_ >= 0) take();
        return last_ >= 0;
    }

  private:
    int take() {
        if (at_ == filled_) {
            const long bytes =
                fd_ < 0 ? 0 : raw_syscall(SYS_read, fd_, buffer_.data(), buffer_.size());
            at_ = 0;
            filled_ = bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
            if (filled_ == 0) return last_ = -1;
        }
        return last_ = static_cast<unsigned char>(buffer_[at_++]);
    }
    // Reads a number and the character after it.
    std::uint64_t number(unsigned base) {
        std::uint64_t value = 0;
        for (;;) {
            const int character = take();
            if (character >= '0' && character <= '9') {
                value = value * base + static_cast<unsigned>(character - '0');
            } else if (character >= 'a' && character <= 'f') {
                value = value * base + static_cast<unsigned>(character - 'a' + 10);
            } else {
                return value;
            }
        }
    }
    void skip_word() {
        while (take() > ' ') {
        }
    }

    int fd_ = -1;
    int last_ = 0;
    std::size_t at_ = 0;
    std::size_t filled_ = 0;
    std::array<char, 512> buffer_{};
};

}  // namespace

std::optional<std::size_t> PortalMap::find(std::uint64_t address, const Catalog& catalog) {
    const std::uint64_t page = page_of(address);
    const std::uint64_t known = pages_[place_of(page)].load(std::memory_order_acquire);
    if (known != 0 && page_of(known) == page) return known % kPageBytes - 1;
    MapsReader maps;
    MapsReader::Line line;
    while (maps.next(line)) {
        if (page < line.begin || page >= line.end) continue;
        for (std::size_t i = 0; i < catalog.nodes.size(); ++i) {
            const Node& node = catalog.nodes[i];
            if (node.inode != line.inode || node.file_system != line.file_system) continue;
            insert(page, i);
            return i;
        }
        return std::nullopt;
    }
    return std::nullopt;
}

void PortalMap::insert(std::uint64_t address, std::size_t node) {
    const std::uint64_t page = page_of(address);
    used_.store(true, std::memory_order_release);
    pages_[place_of(page)].store(page | (node + 1), std::memory_order_release);
}

void PortalMap::forget(std::uint64_t begin, std::uint64_t bytes) {
    if (!used_.load(std::memory_order_acquire)) return;
    for (auto& entry : pages_) {
        std::uint64_t known = entry.load(std::memory_order_acquire);
        if (known == 0 || page_of(known) < begin || page_of(known) - begin >= bytes) continue;
        entry.compare_exchange_strong(known, 0, std::memory_order_acq_rel);
    }
}

}  // namespace migrate::accel::softdsa::preload
