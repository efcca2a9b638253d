// SPDX-License-Identifier: Apache-2.0
#include "e2e/http.hpp"

#include <sys/socket.h>

#include <array>

#include "base/fd.hpp"
#include "base/wait.hpp"
#include "e2e/process.hpp"
#include "tests/support/loopback.hpp"

namespace migrate::e2e {

std::string http_exchange(std::uint16_t port, const std::string& request) {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || !connect_to_loopback(fd.get(), port)) return {};
    const auto sent = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(request.size())) return {};
    std::string answer;
    std::array<char, 16384> buffer{};
    while (readable_within(fd.get(), kDeadline)) {
        const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
        if (size <= 0) return answer;
        answer.append(buffer.data(), static_cast<std::size_t>(size));
    }
    return {};
}

std::string scrape(std::uint16_t port) {
    const std::string answer = http_exchange(
        port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    const std::size_t body = answer.find("\r\n\r\n");
    if (!answer.starts_with("HTTP/1.1 200") || body == std::string::npos) return {};
    return answer.substr(body + 4);
}

}  // namespace migrate::e2e
