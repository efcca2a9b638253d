// SPDX-License-Identifier: Apache-2.0
#include "qmp/socket_file.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "qmp/unix_address.hpp"

namespace migrate::qmp {
namespace {

constexpr int kBacklog = 16;
constexpr mode_t kMode = 0600;

UniqueFd unix_socket() {
    return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

// Removes a socket without a listener. Succeeds if the path is free for a new socket.
Status remove_stale(const sockaddr_un& address) {
    const char* path = address.sun_path;
    struct stat file {};
    if (::lstat(path, &file) != 0) {
        if (errno == ENOENT) return {};
        return Error::system(fmt::format("look at '{}'", path), errno).as(ErrorKind::kUsage);
    }
    if (!S_ISSOCK(file.st_mode)) {
        return make_error(ErrorKind::kUsage,
                          "'{}' exists and is no socket; remove it, or choose another path for QMP",
                          path);
    }
    const UniqueFd probe = unix_socket();
    if (!probe) return Error::system("make a socket", errno);
    if (::connect(probe.get(), generic(address), sizeof address) == 0 || errno == EAGAIN) {
        return make_error(ErrorKind::kUsage, "another program serves '{}'; choose another path",
                          path);
    }
    if (errno != ECONNREFUSED)
        return Error::system(fmt::format("connect to '{}'", path), errno).as(ErrorKind::kUsage);
    if (::unlink(path) != 0 && errno != ENOENT)
        return Error::system(fmt::format("remove the stale socket '{}'", path), errno);
    return {};
}

}  // namespace

Result<SocketFile> SocketFile::create(std::string_view address_text) {
    MIGRATE_ASSIGN(const sockaddr_un address, parse_unix_address(address_text));
    const char* path = address.sun_path;
    UniqueFd listener = unix_socket();
    if (!listener) return Error::system("make a socket", errno);
    // On Linux bind() gives the file the socket's own mode: the file never exists with a wider
    // mode, and the process's umask, which other threads share, stays unchanged.
    if (::fchmod(listener.get(), kMode) != 0) return Error::system("set a socket's mode", errno);
    MIGRATE_TRY(remove_stale(address));
    if (::bind(listener.get(), generic(address), sizeof address) != 0) {
        return Error::system(fmt::format("make the socket '{}'", path), errno)
            .as(ErrorKind::kUsage);
    }
    UniqueFd identity(::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat file {};
    if (!identity || ::fstat(identity.get(), &file) != 0 ||
        ::listen(listener.get(), kBacklog) != 0) {
        const int code = errno;
        ::unlink(path);
        return Error::system(fmt::format("listen on '{}'", path), code);
    }
    return SocketFile(std::move(listener), path, std::move(identity), file);
}

SocketFile::~SocketFile() {
    struct stat file {};
    if (identity_ && ::lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ &&
        file.st_ino == inode_) {
        ::unlink(path_.c_str());
    }
}

}  // namespace migrate::qmp
