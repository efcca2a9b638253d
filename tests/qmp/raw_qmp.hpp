// SPDX-License-Identifier: Apache-2.0
// One end of a unix socket, for tests that write and read QMP byte by byte.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.hpp"
#include "catch.hpp"
#include "qmp/message.hpp"
#include "qmp/unix_address.hpp"
#include "tests/support/must.hpp"

namespace migrate::qmp {

class RawQmp {
  public:
    explicit RawQmp(UniqueFd fd) : fd_(std::move(fd)) { REQUIRE(fd_); }

    // Connects without a word.
    static RawQmp connect(const std::string& address) {
        const sockaddr_un to = must(parse_unix_address(address));
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
        return RawQmp(std::move(fd));
    }

    // Connects and leaves negotiation.
    static RawQmp negotiated(const std::string& address) {
        RawQmp peer = connect(address);
        CHECK(peer.message().contains("QMP"));
        CHECK(peer.ask(R"({"execute":"qmp_capabilities"})").contains("return"));
        return peer;
    }

    // Any thread: asserts nothing, which Catch allows on the test's own thread only. What could not
    // be written is missed by whoever reads the answer.
    void write(std::string_view text) {
        while (!text.empty()) {
            const ssize_t size = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
            if (size <= 0) return;
            text.remove_prefix(static_cast<std::size_t>(size));
        }
    }

    // Writes as much as fits, without waiting.
    void write_some(std::string_view text) {
        (void)!::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    // The next line; nullopt once the peer has closed.
    std::optional<std::string> line() {
        while (true) {
            if (const auto end = text_.find('\n'); end != std::string::npos) {
                std::string line = text_.substr(0, end);
                text_.erase(0, end + 1);
                return line;
            }
            std::array<char, 65536> bytes;
            const ssize_t size = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
            if (size <= 0) return std::nullopt;
            text_.append(bytes.data(), static_cast<std::size_t>(size));
        }
    }

    Json message() {
        const auto text = line();
        if (!text) FAIL("the peer has closed");
        return Json::parse(*text);
    }

    Json ask(std::string_view request) {
        write(request);
        return message();
    }

    void end_of_input() { ::shutdown(fd_.get(), SHUT_WR); }
    void close() { fd_.reset(); }

  private:
    UniqueFd fd_;
    std::string text_;
};

}  // namespace migrate::qmp
