// What a QMP server answers, without the sockets: negotiation, the form of a request, and the
// commands. Invariant: every request has exactly one answer, whatever the command does.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "qmp/message.hpp"

namespace migrate::qmp {

// Gets `arguments` (an object, empty if there were none) and returns what goes into "return". An
// Error becomes {"error": {"class": "GenericError", "desc": message}}, and so does an exception.
using Command = std::function<Result<Json>(const Json& arguments)>;

// What is known of one client.
struct Session {
    bool negotiated = false;  // has left capabilities negotiation
};

class Dispatcher {
  public:
    // The commands qmp_capabilities, query-commands and query-version are the dispatcher's own; a
    // name among `commands` that is one of them is an Error.
    static Result<Dispatcher> create(std::map<std::string, Command> commands);

    // What a client is sent first.
    static Json greeting();
    // To what a MessageStream gave; an Error in a request's place is answered too.
    Json answer(const Result<Json>& request, Session& session) const;

  private:
    using Commands = std::map<std::string, Command>;

    explicit Dispatcher(Commands commands) : commands_(std::move(commands)) {}
    Json execute(const Json& request, Session& session) const;

    Commands commands_;
};

}  // namespace migrate::qmp
