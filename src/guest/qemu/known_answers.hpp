// SPDX-License-Identifier: Apache-2.0
// Answers of QEMU that are valid for a moment: several checks that belong together ask for the same
// facts, and QEMU needs up to a millisecond for each command, mostly to read it byte by byte.
// Invariant: an answer is never older than the moment in which it is used, nor older than the last
// command of this side that may have changed something.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "qmp/client.hpp"

namespace migrate::guest {

// A command that changes nothing in QEMU.
struct Question {
    std::string_view command;
    qmp::Json arguments = qmp::Json::object();
};

class KnownAnswers {
  public:
    // A moment begins or ends. Moments may be nested. The end of the last one makes all answers
    // unknown.
    void begin() { ++moments_; }
    void end(qmp::Client* client);

    // Does the same as Client::execute(). Within a moment, a question that was answered is not
    // asked again, and any other command makes all answers unknown.
    Result<qmp::Json> ask(qmp::Client& client, std::string_view command, const qmp::Json& arguments,
                          std::chrono::milliseconds timeout, const std::stop_token& stop);
    // Within a moment: sends the questions whose answers are not known. A question that cannot be
    // sent is asked by ask().
    void ask_ahead(qmp::Client& client, const std::vector<Question>& questions,
                   std::chrono::milliseconds timeout, const std::stop_token& stop);
    // Makes all answers unknown. `client`: the one that was asked; null if it is gone.
    void forget(qmp::Client* client);

  private:
    struct Known {
        std::optional<qmp::Client::Ticket> ticket{};  // set until the answer was read
        std::optional<Result<qmp::Json>> answer{};    // a refusal is an answer, too
    };

    int moments_ = 0;
    std::map<std::string, Known> known_;  // by command and arguments
};

}  // namespace migrate::guest
