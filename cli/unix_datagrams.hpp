// SPDX-License-Identifier: Apache-2.0
// Messages to a program that listens on a unix socket for datagrams: the service manager, the
// journal. Invariant: no call waits, and a message that cannot be taken now is lost.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::cli {

class UnixDatagrams {
  public:
    // Connected to nobody: messages go nowhere.
    UnixDatagrams() = default;
    // `name` is a path, or begins with "@", which stands for the null byte of an abstract socket.
    // `peer` names the program in errors.
    static Result<UnixDatagrams> connect(std::string_view name, std::string_view peer);

    void send(const std::string& message) const;

  private:
    explicit UnixDatagrams(UniqueFd socket) : socket_(std::move(socket)) {}

    UniqueFd socket_;
};

}  // namespace migrate::cli
