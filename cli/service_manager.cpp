#include "cli/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"
#include "base/log.hpp"

namespace migrate::cli {
namespace {

// `name` is a path, or begins with "@", which stands for the null byte of an abstract socket.
Status connect_to(int fd, std::string_view name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name.size() >= sizeof address.sun_path) return Error::system("NOTIFY_SOCKET", ENAMETOOLONG);
    std::memcpy(address.sun_path, name.data(), name.size());
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0)
        return Error::system("connect to the service manager", errno);
    return {};
}

}  // namespace

ServiceManager ServiceManager::connect() {
    ServiceManager manager;
    const char* const name = std::getenv("NOTIFY_SOCKET");
    if (name == nullptr || (name[0] != '/' && name[0] != '@')) return manager;
    UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const Status connected =
        socket ? connect_to(socket.get(), name) : Status(Error::system("create a socket", errno));
    if (connected) {
        manager.socket_ = std::move(socket);
    } else {
        log::warning("the service manager will not hear of this migration: {}",
                     connected.error().message());
    }
    return manager;
}

void ServiceManager::ready(std::string_view status) const {
    tell(fmt::format("READY=1\nSTATUS={}", status));
}

void ServiceManager::status(std::string_view status) const {
    tell(fmt::format("STATUS={}", status));
}

void ServiceManager::stopping(std::string_view status) const {
    tell(fmt::format("STOPPING=1\nSTATUS={}", status));
}

void ServiceManager::tell(const std::string& text) const {
    if (!socket_) return;
    // A manager that does not read loses the message.
    static_cast<void>(::send(socket_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

}  // namespace migrate::cli
