// SPDX-License-Identifier: Apache-2.0
// Answers QMP requests, without the sockets: negotiation, the form of a request, and the commands.
// Invariant: every request has exactly one answer, whatever the command does.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "qmp/message.hpp"

namespace migrate::qmp {

// Gets `arguments` (an object, empty if there were none) and returns the content of "return". An
// Error or an exception becomes {"error": {"class": "GenericError", "desc": message}}.
using Command = std::function<Result<Json>(const Json& arguments)>;

// The state of one client.
struct Session {
    bool negotiated = false;  // has left capabilities negotiation
};

class Dispatcher {
  public:
    // The dispatcher itself provides qmp_capabilities, query-commands and query-version. An Error
    // if `commands` has one of these names.
    static Result<Dispatcher> create(std::map<std::string, Command> commands);

    // The message that a client gets first.
    static Json greeting();
    // Answers a request, or an Error, that a MessageStream returned.
    Json answer(const Result<Json>& request, Session& session) const;

  private:
    using Commands = std::map<std::string, Command>;

    explicit Dispatcher(Commands commands) : commands_(std::move(commands)) {}
    Json execute(const Json& request, Session& session) const;

    Commands commands_;
};

}  // namespace migrate::qmp
