// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/known_answers.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace migrate::guest {
namespace {

using qmp::Json;
using std::chrono::milliseconds;

// Commands of the human monitor count if they begin with "info".
bool is_question(std::string_view command, const Json& arguments) {
    constexpr std::array<std::string_view, 4> kPrefixes{"query-", "x-query-", "qom-get",
                                                        "qom-list"};
    if (command == "human-monitor-command") {
        return arguments.value("command-line", std::string()).starts_with("info ");
    }
    return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                       [&](std::string_view prefix) { return command.starts_with(prefix); });
}

std::string key_of(std::string_view command, const Json& arguments) {
    return std::string(command) + arguments.dump();
}

// Neither a broken connection nor a cancelled wait is one.
bool is_answer(const Result<Json>& result) {
    return result || result.error().kind() == ErrorKind::kPeer;
}

}  // namespace

Result<Json> KnownAnswers::ask(qmp::Client& client, std::string_view command, const Json& arguments,
                               milliseconds timeout, const std::stop_token& stop) {
    const bool question = is_question(command, arguments);
    if (!question) forget(&client);
    if (!question || moments_ == 0) return client.execute(command, arguments, timeout, stop);
    const std::string key = key_of(command, arguments);
    const auto found = known_.find(key);
    if (found != known_.end() && found->second.answer) return *found->second.answer;
    std::optional<qmp::Client::Ticket> ticket;
    if (found != known_.end()) ticket = std::exchange(found->second.ticket, std::nullopt);
    auto answer = ticket ? client.await(*ticket, command, timeout, stop)
                         : client.execute(command, arguments, timeout, stop);
    known_.erase(key);
    if (is_answer(answer)) known_[key].answer = answer;
    return answer;
}

void KnownAnswers::ask_ahead(qmp::Client& client, const std::vector<Question>& questions,
                             milliseconds timeout, const std::stop_token& stop) {
    if (moments_ == 0) return;
    for (const Question& question : questions) {
        const std::string key = key_of(question.command, question.arguments);
        if (known_.contains(key)) continue;
        const auto sent = client.send_ahead(question.command, question.arguments, timeout, stop);
        if (!sent) return;
        known_[key].ticket = *sent;
    }
}

void KnownAnswers::end(qmp::Client* client) {
    if (--moments_ == 0) forget(client);
}

void KnownAnswers::forget(qmp::Client* client) {
    for (const auto& [key, known] : known_) {
        if (client != nullptr && known.ticket) client->forget(*known.ticket);
    }
    known_.clear();
}

}  // namespace migrate::guest
