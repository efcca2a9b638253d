// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/client_count.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "accel/softdsa/errno_kept.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constexpr long kMostClients = 4096;

struct flock lock_of(long begin, long bytes, bool may_write) {
    struct flock lock {};
    lock.l_type = static_cast<short>(may_write ? F_WRLCK : F_RDLCK);
    lock.l_whence = SEEK_SET;
    lock.l_start = begin;
    lock.l_len = bytes;
    return lock;
}

// Counts the locks of one byte within [begin, end).
unsigned count_locks(long fd, long begin, long end) {
    if (begin >= end) return 0;
    struct flock lock = lock_of(begin, end - begin, true);
    if (raw_syscall(SYS_fcntl, fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
    const long at = lock.l_start;
    return 1 + count_locks(fd, begin, at) + count_locks(fd, at + 1, end);
}

}  // namespace

void count_as_client(int fd) {
    const ErrnoKept kept;
    const bool may_write = (raw_syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    for (long i = 0; i < kMostClients; ++i) {
        struct flock lock = lock_of(i, 1, may_write);
        if (raw_syscall(SYS_fcntl, fd, F_OFD_SETLK, &lock) == 0 || errno != EAGAIN) break;
    }
}

unsigned count_clients(const std::string& node) {
    const ErrnoKept kept;
    const long fd = raw_syscall(SYS_openat, AT_FDCWD, node.c_str(), O_RDONLY | O_CLOEXEC, 0);
    const unsigned count = fd < 0 ? 0 : count_locks(fd, 0, kMostClients);
    if (fd >= 0) raw_syscall(SYS_close, fd);
    return count;
}

}  // namespace migrate::accel::softdsa::preload
