// A QMP server on a unix socket: greeting, qmp_capabilities, ids, errors and events as in QEMU's
// docs/interop/qmp-spec, for commands that others register. Invariants: a client that sends
// garbage, reads nothing, or goes away harms neither the other clients nor the program; nothing
// is allocated beyond a limit on a client's word.
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
// Of events that wait for one client. Answers need no such limit: the next request is taken only
// when the answers before it have nearly gone out.
inline constexpr std::size_t kMaxQueuedBytes = std::size_t{1024} * 1024;

class Server {
  public:
    // `address`: "unix:PATH" (as the option qmp); the file gets mode 0600. A socket file that
    // nobody listens on any more is replaced; any other file, or a socket that answers, is kUsage.
    // The commands qmp_capabilities, query-commands, query-version are the server's own. Serves
    // several clients, on one thread of its own; commands run on it and must not wait for long.
    static Result<std::unique_ptr<Server>> create(std::string_view address,
                                                  std::map<std::string, Command> commands);
    // Ends the thread, closes the clients after what was written to them has gone out (at most
    // 1 s), and removes the socket file if it is still the server's. Not from a command.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // To every client that has left capabilities negotiation. Any thread, commands included; never
    // blocks: a client that does not read is dropped once kMaxQueuedBytes wait for it.
    void broadcast(std::string_view event, const Json& data);

  private:
    struct State;
    explicit Server(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace migrate::qmp
