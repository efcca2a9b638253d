// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/attribute_files.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "accel/softdsa/preload/attribute_rules.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

int close_and_fail(int fd, int error) {
    raw_syscall(SYS_close, fd);
    errno = error;
    return -1;
}

// The names of these files: "PART,ATTRIBUTE,USE,NUMBER"; the use is "w", or "r" if the program may
// also read, so that the file begins with the present value.
std::string stand_in_name(const AttributeName& name, bool reads) {
    static std::atomic<unsigned> next{0};
    return name.part.name + "," + name.attribute + (reads ? ",r," : ",w,") +
           std::to_string(raw_syscall(SYS_getpid)) + "." + std::to_string(next.fetch_add(1));
}

struct StandIn {
    AttributeName name;
    bool reads = false;
};

// Returns the attribute for which `fd`, a file in the tree, stands.
std::optional<StandIn> stand_in_of(const World& world, int fd) {
    std::string path = path_of(fd);
    const std::string folder = world.tree().file("staging/");
    if (!path.starts_with(folder)) return std::nullopt;
    path.erase(0, folder.size());
    const std::size_t first = path.find(',');
    const std::size_t second = path.find(',', first + 1);
    if (first == std::string::npos || second == std::string::npos) return std::nullopt;
    const auto part = Part::parse(std::string_view(path).substr(0, first));
    if (!part) return std::nullopt;
    return StandIn{{*part, path.substr(first + 1, second - first - 1)},
                   path.compare(second, 3, ",r,") == 0};
}

int make_stand_in(const World& world, const AttributeName& name, int flags) {
    const bool reads = (flags & O_ACCMODE) == O_RDWR && (flags & O_TRUNC) == 0;
    const std::string path = world.tree().file("staging/" + stand_in_name(name, reads));
    const int fd = static_cast<int>(raw_syscall(
        SYS_openat, AT_FDCWD, path.c_str(), O_RDWR | O_CREAT | O_EXCL | (flags & O_CLOEXEC), 0600));
    if (fd < 0) return -1;
    remove_file(path);
    if (reads) {
        const std::string text = world.tree().text(name.part, name.attribute) + "\n";
        raw_syscall(SYS_pwrite64, fd, text.data(), text.size(), 0);
    }
    return fd;
}

}  // namespace

int open_attribute(World& world, int folder, const char* path, int flags) {
    const int fd = static_cast<int>(raw_syscall(SYS_openat, folder, path, O_PATH | O_CLOEXEC, 0));
    if (fd < 0 || !world.look_at(fd).in_tree) return close_and_fail(fd, EROFS);
    const auto name = Tree::name_of(path_of(fd));
    if (!name || !is_writable(*name)) return close_and_fail(fd, name ? EACCES : EROFS);
    raw_syscall(SYS_close, fd);
    return make_stand_in(world, *name, flags);
}

void refresh_attribute(World& world, int fd) {
    const auto name = Tree::name_of(path_of(fd));
    if (name) world.configuration().refresh(*name);
}

std::optional<ssize_t> write_attribute(World& world, int fd, std::string_view text) {
    const auto stand_in = stand_in_of(world, fd);
    if (!stand_in) return std::nullopt;
    const int error = world.configuration().store(stand_in->name, text);
    if (error == 0) return static_cast<ssize_t>(text.size());
    errno = error;
    return -1;
}

int store_written(World& world, int fd) {
    const auto stand_in = stand_in_of(world, fd);
    if (!stand_in) return 0;
    std::array<char, 4096> text{};
    const long bytes = raw_syscall(SYS_pread64, fd, text.data(), text.size(), 0);
    if (bytes <= 0) return 0;
    std::string_view written(text.data(), static_cast<std::size_t>(bytes));
    const AttributeName& name = stand_in->name;
    // Nothing was written to a file that has only its first content.
    if (stand_in->reads && written == world.tree().text(name.part, name.attribute) + "\n") return 0;
    raw_syscall(SYS_ftruncate, fd, 0);
    raw_syscall(SYS_lseek, fd, 0, SEEK_SET);
    return world.configuration().store(name, written);
}

}  // namespace migrate::accel::softdsa::preload
