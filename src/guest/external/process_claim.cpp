// SPDX-License-Identifier: Apache-2.0
#include "guest/external/process_claim.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "base/log.hpp"
#include "base/raw_syscall.hpp"
#include "memory/foreign/foreign_writers.hpp"

namespace migrate::guest {
namespace {

// PID_FS_MAGIC, "PIDF" (linux/magic.h), since Linux 6.9.
constexpr unsigned long kPidfsMagic = 0x50494446;
// SO_PEERPIDFD (asm-generic/socket.h), since Linux 6.5.
constexpr int kSoPeerPidfd = 77;

bool has_inode_of_its_own(int pidfd) {
    struct statfs status {};
    return ::fstatfs(pidfd, &status) == 0 &&
           static_cast<unsigned long>(status.f_type) == kPidfsMagic;
}

// Returns the process that holds a lock on the file, from /proc/locks: "2: FLOCK ADVISORY WRITE
// 27068 00:05:59562 0 EOF". Returns 0 if it cannot be seen from here.
pid_t holder_of(int locked) {
    struct stat status {};
    if (::fstat(locked, &status) != 0) return 0;
    const std::string file = fmt::format("{:02x}:{:02x}:{}", ::gnu_dev_major(status.st_dev),
                                         ::gnu_dev_minor(status.st_dev), status.st_ino);
    std::ifstream locks("/proc/locks");
    for (std::string line; std::getline(locks, line);) {
        std::istringstream words(line);
        std::string number;
        std::string kind;
        std::string enforced;
        std::string access;
        pid_t pid = 0;
        std::string where;
        words >> number >> kind >> enforced >> access >> pid >> where;
        if (words && kind == "FLOCK" && where == file) return pid;
    }
    return 0;
}

Error taken(int locked, std::string_view what) {
    // The kernel does not list a lock after the process that took it has ended.
    const pid_t holder = holder_of(locked);
    return make_error(
        ErrorKind::kRefused,
        "{} is in use by another migration ({}): one at a time may stop its guest; wait for its "
        "end, or cancel it",
        what,
        holder > 0
            ? memory::process_name(holder)
            : "in another PID namespace, or killed, and still being put right by the process "
              "that it left behind");
}

}  // namespace

Result<ProcessClaim> ProcessClaim::take(pid_t pid, std::string_view what) {
    if (pid == 0) return ProcessClaim();
    UniqueFd process(static_cast<int>(raw_syscall(SYS_pidfd_open, pid, 0U)));
    if (!process) return Error::system(fmt::format("open process {}", pid), errno);
    return lock(std::move(process), pid, what);
}

Result<ProcessClaim> ProcessClaim::take_listener(int socket, std::string_view what) {
    int fd = -1;
    socklen_t size = sizeof fd;
    ucred peer{};
    socklen_t peer_size = sizeof peer;
    const bool known = ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0;
    if (::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &fd, &size) == 0) {
        return lock(UniqueFd(fd), known ? peer.pid : 0, what);
    }
    if (known && peer.pid != 0) return take(peer.pid, what);
    log::warning(
        "{}: its process is not to be seen here, so another migration of it would not be "
        "noticed; say which it is with pid=PID",
        what);
    return ProcessClaim();
}

Result<ProcessClaim> ProcessClaim::lock(UniqueFd process, pid_t pid, std::string_view what) {
    ProcessClaim claim;
    claim.process_ = std::move(process);
    if (!has_inode_of_its_own(claim.process_.get())) {
        // All processes share one inode here: a lock on it would claim all of them.
        const std::string folder = fmt::format("/proc/{}", pid);
        claim.folder_.reset(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!claim.folder_) return Error::system("open " + folder, errno);
    }
    if (::flock(claim.lock(), LOCK_EX | LOCK_NB) == 0) return claim;
    if (errno == EWOULDBLOCK) return taken(claim.lock(), what);
    return Error::system(fmt::format("claim {}", what), errno);
}

}  // namespace migrate::guest
