// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/plain_files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "accel/softdsa/errno_kept.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

long open_file(const std::string& path, int flags) {
    return raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_CLOEXEC, 0);
}

std::string read_link(const std::string& path) {
    std::array<char, 4096> target{};
    const long bytes =
        raw_syscall(SYS_readlinkat, AT_FDCWD, path.c_str(), target.data(), target.size());
    return {target.data(), bytes > 0 ? static_cast<std::size_t>(bytes) : 0};
}

}  // namespace

bool exists(const std::string& path) {
    const ErrnoKept kept;
    return raw_syscall(SYS_faccessat, AT_FDCWD, path.c_str(), F_OK) == 0;
}

bool is_link(const std::string& path) {
    const ErrnoKept kept;
    return !read_link(path).empty();
}

std::optional<std::string> read_text(const std::string& path) {
    const ErrnoKept kept;
    const long fd = open_file(path, O_RDONLY);
    if (fd < 0) return std::nullopt;
    std::array<char, 4096> text{};
    const long bytes = raw_syscall(SYS_read, fd, text.data(), text.size());
    raw_syscall(SYS_close, fd);
    if (bytes < 0) return std::nullopt;
    std::string value(text.data(), static_cast<std::size_t>(bytes));
    if (value.ends_with('\n')) value.pop_back();
    return value;
}

bool write_text(const std::string& path, std::string_view text) {
    const ErrnoKept kept;
    const long fd = open_file(path, O_WRONLY);
    if (fd < 0) return false;
    const std::string line = std::string(text) + "\n";
    const long bytes = raw_syscall(SYS_write, fd, line.data(), line.size());
    const bool written = bytes == static_cast<long>(line.size());
    raw_syscall(SYS_ftruncate, fd, line.size());
    raw_syscall(SYS_close, fd);
    return written;
}

bool make_symbolic_link(const std::string& target, const std::string& path) {
    const ErrnoKept kept;
    return raw_syscall(SYS_symlinkat, target.c_str(), AT_FDCWD, path.c_str()) == 0;
}

bool make_hard_link(const std::string& existing, const std::string& path) {
    const ErrnoKept kept;
    return raw_syscall(SYS_linkat, AT_FDCWD, existing.c_str(), AT_FDCWD, path.c_str(), 0) == 0;
}

void remove_file(const std::string& path) {
    const ErrnoKept kept;
    raw_syscall(SYS_unlinkat, AT_FDCWD, path.c_str(), 0);
}

std::string path_of(int fd) {
    const ErrnoKept kept;
    return read_link("/proc/self/fd/" + std::to_string(fd));
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
    const int base = text.starts_with("0x") ? 16 : 10;
    if (base == 16) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

FileLock::FileLock(const std::string& path) : fd_(open_file(path, O_RDONLY)) {
    const ErrnoKept kept;
    while (fd_ >= 0 && raw_syscall(SYS_flock, fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
}

FileLock::~FileLock() {
    const ErrnoKept kept;
    if (fd_ >= 0) raw_syscall(SYS_close, fd_);
}

}  // namespace migrate::accel::softdsa::preload
