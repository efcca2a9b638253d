// SPDX-License-Identifier: Apache-2.0
// A QMP server on a unix socket: greeting, qmp_capabilities, ids, errors and events as in QEMU's
// docs/interop/qmp-spec, for commands that other code registers. Invariants: a client that sends
// garbage, reads nothing, or goes away harms neither the other clients nor the program; a client
// cannot make the server allocate beyond a limit.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "qmp/dispatcher.hpp"
#include "qmp/message.hpp"

namespace migrate::qmp {

inline constexpr std::size_t kMaxClients = 16;
inline constexpr std::size_t kMaxRequestBytes = std::size_t{64} * 1024;
inline constexpr std::size_t kMaxRequestDepth = 64;
// Limit of the events queued for one client, in bytes. Answers need no such limit: the next request
// is taken only when most of the answers before it are sent.
inline constexpr std::size_t kMaxQueuedBytes = std::size_t{1024} * 1024;

class Server {
  public:
    // `address`: "unix:PATH" (as in the option qmp); the file gets mode 0600. A socket file without
    // a listener is replaced; any other file, or a socket that answers, is kUsage. The server
    // itself provides qmp_capabilities, query-commands and query-version. Serves several clients on
    // one thread of its own; commands run on it and must not wait for long.
    static Result<std::unique_ptr<Server>> create(std::string_view address,
                                                  std::map<std::string, Command> commands);
    // Ends the thread, closes the clients after their queued output is written (at most 1 s), and
    // removes the socket file if it is still the server's. Must not be called from a command.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Sends an event to every client that has left capabilities negotiation. Any thread, commands
    // included; never blocks: a client that does not read is dropped once more than kMaxQueuedBytes
    // would be queued for it.
    void broadcast(std::string_view event, const Json& data);

  private:
    struct State;
    explicit Server(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace migrate::qmp
