// A QMP server on a unix socket: greeting, qmp_capabilities, ids, errors and events as in QEMU's
// docs/interop/qmp-spec, for commands that others register. Invariants: a client that sends
// garbage, reads nothing, or goes away harms neither the other clients nor the program; nothing
// is allocated beyond a limit on a client's word.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::qmp {

// Keys keep their order, as in QEMU's answers.
using Json = nlohmann::ordered_json;

// Gets `arguments` (an object, empty if there were none) and returns what goes into "return". An
// Error becomes {"error": {"class": "GenericError", "desc": message}}. Runs on the server's thread
// and must not wait for long.
using Command = std::function<Result<Json>(const Json& arguments)>;

class Server {
  public:
    // `address`: "unix:PATH" (as the option qmp). A socket file that nobody listens on any more is
    // replaced; any other file, or a socket that answers, is kUsage. The commands qmp_capabilities,
    // query-commands, query-version are the server's own. Serves several clients, on one thread of
    // its own.
    static Result<std::unique_ptr<Server>> create(std::string_view address,
                                                  std::map<std::string, Command> commands);
    // Ends the thread, closes the clients after what was written to them has gone out (at most
    // 1 s), and removes the socket file.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // To every client that has left capabilities negotiation. Any thread; never blocks: a client
    // that does not read is dropped once its queue is full.
    void broadcast(std::string_view event, const Json& data);

  private:
    struct State;
    explicit Server(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace migrate::qmp
