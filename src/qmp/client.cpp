// SPDX-License-Identifier: Apache-2.0
#include "qmp/client.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <span>
#include <string>

#include "base/fd_passing.hpp"
#include "base/log.hpp"
#include "base/wait.hpp"
#include "qmp/unix_address.hpp"

namespace migrate::qmp {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kConnectRetry{10};
constexpr std::size_t kAnswerReadBytes = std::size_t{64} * 1024;
constexpr std::size_t kMaxShownBytes = 1024;
constexpr std::string_view kOutOfBand = "oob";

// Returns a peer's text, made safe for the operator's terminal.
std::string shown(const Json& object, const char* key) {
    const auto member = object.find(key);
    if (member == object.end() || !member->is_string()) return "?";
    std::string text = member->get<std::string>().substr(0, kMaxShownBytes);
    std::replace_if(
        text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; }, ' ');
    return text;
}

std::string brief(const Json& message) {
    return message.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80);
}

// Returns an event's name; empty if it has none.
std::string name_of(const Json& event) {
    const Json& name = event["event"];
    return name.is_string() ? name.get<std::string>() : std::string();
}

bool offers(const Json& greeting, std::string_view capability) {
    const auto offered = greeting.find("capabilities");
    return offered != greeting.end() && offered->is_array() &&
           std::any_of(offered->begin(), offered->end(), [&](const Json& one) {
               return one.is_string() && one.get_ref<const std::string&>() == capability;
           });
}

bool has_object(const Json& message, const char* key) {
    const auto member = message.find(key);
    return member != message.end() && member->is_object();
}

}  // namespace

// The timeout and the stop of one call.
class Client::Wait {
  public:
    Wait(milliseconds timeout, const std::stop_token& stop)
        : timeout_(timeout), deadline_(after(timeout)), wait_(stop) {}

    // Waits until the socket (-1: none) is ready, or for `longest`. A socket that is already ready
    // is found even after the deadline, but only once: a peer that always sends more cannot extend
    // the wait.
    Status ready(int socket, short events, std::optional<milliseconds> longest = {}) {
        const bool over = Clock::now() >= deadline_;
        if (over && std::exchange(expired_, true)) return timed_out();
        const auto until = longest ? std::min(deadline_, after(*longest)) : deadline_;
        if (notice_ && notice_at_ < until) {
            MIGRATE_ASSIGN(const bool in_time, wait_.wait_until(socket, events, notice_at_));
            if (in_time) return {};
            std::exchange(notice_, nullptr)();
        }
        MIGRATE_ASSIGN(const bool is_ready, wait_.wait_until(socket, events, until));
        return is_ready || until < deadline_ ? Status() : timed_out();
    }

    // Calls `notice` once, after `time` of waiting.
    void notify(milliseconds time, std::function<void()> notice) {
        notice_at_ = after(time);
        notice_ = std::move(notice);
    }

  private:
    Error timed_out() const {
        return make_error(ErrorKind::kTimeout, "no answer within {} ms", timeout_.count());
    }

    milliseconds timeout_;
    Clock::time_point deadline_;
    bool expired_ = false;  // the deadline has passed, and the socket was checked once since
    StopWait wait_;
    Clock::time_point notice_at_{};
    std::function<void()> notice_;  // empty: none, or it was called
};

Result<UniqueFd> Client::dial(std::string_view address, milliseconds timeout,
                              const std::stop_token& stop) {
    MIGRATE_ASSIGN(const sockaddr_un endpoint, parse_unix_address(address));
    const std::string what = fmt::format("connect to {}", address);
    const std::string where = "cannot " + what;
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Error::system("make a socket", errno);
    Wait wait(timeout, stop);
    while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&endpoint), sizeof endpoint) !=
           0) {
        if (errno == ENOENT || errno == ECONNREFUSED) {
            return make_error(
                "{}: no process listens there (is QEMU running, with -qmp {},server=on,wait=off?)",
                where, address);
        }
        if (errno != EAGAIN && errno != EINTR) return Error::system(what, errno);
        // The listener's backlog is full, and nothing reports when a unix socket has room again.
        if (Status status = wait.ready(-1, 0, kConnectRetry); !status)
            return std::move(status).error().with_context(where);
    }
    return socket;
}

Result<std::unique_ptr<Client>> Client::connect(std::string_view address, milliseconds timeout,
                                                const std::stop_token& stop) {
    const auto started = Clock::now();
    MIGRATE_ASSIGN(UniqueFd socket, dial(address, timeout, stop));
    const auto used = std::chrono::duration_cast<milliseconds>(Clock::now() - started);
    auto client = adopt(std::move(socket), std::max(timeout - used, milliseconds(0)), stop);
    if (!client) {
        return std::move(client).error().with_context(fmt::format("cannot connect to {}", address));
    }
    return client;
}

Result<std::unique_ptr<Client>> Client::adopt(UniqueFd socket, milliseconds timeout,
                                              const std::stop_token& stop) {
    std::unique_ptr<Client> client(new Client(std::move(socket)));
    Wait wait(timeout, stop);
    MIGRATE_TRY(client->negotiate(wait));
    return client;
}

Status Client::negotiate(Wait& wait) {
    MIGRATE_ASSIGN(const Json greeting, receive(wait));
    if (!has_object(greeting, "QMP") || !has_object(greeting["QMP"], "version"))
        return broken(make_error(ErrorKind::kProtocol, "no QMP greeting: {}", brief(greeting)));
    version_ = greeting["QMP"]["version"];
    // With out-of-band execution QEMU reads commands while it carries out an earlier one.
    Json wanted = Json::object();
    if (offers(greeting["QMP"], kOutOfBand)) {
        wanted["enable"] = Json::array({std::string(kOutOfBand)});
    }
    MIGRATE_TRY(execute("qmp_capabilities", wanted, wait));
    return {};
}

Result<Json> Client::execute(std::string_view command, const Json& arguments, milliseconds timeout,
                             const std::stop_token& stop) {
    if (stop.stop_requested())
        return make_error(ErrorKind::kCancelled, "QMP command {}: cancelled", command);
    Wait wait(timeout, stop);
    return execute(command, arguments, wait);
}

Result<Json> Client::execute_with_fd(std::string_view command, const Json& arguments, int fd,
                                     milliseconds timeout, const std::stop_token& stop) {
    Wait wait(timeout, stop);
    return execute(command, arguments, wait, fd);
}

Result<Json> Client::execute(std::string_view command, const Json& arguments, Wait& wait, int fd) {
    if (slow_) wait.notify(slow_after_, [this, command] { slow_(command); });
    MIGRATE_ASSIGN(const Ticket ticket, post(command, arguments, wait, fd));
    return await_answer(ticket, command, wait);
}

Result<Client::Ticket> Client::send_ahead(std::string_view command, const Json& arguments,
                                          milliseconds timeout, const std::stop_token& stop) {
    if (stop.stop_requested())
        return make_error(ErrorKind::kCancelled, "QMP command {}: cancelled", command);
    Wait wait(timeout, stop);
    MIGRATE_ASSIGN(const Ticket ticket, post(command, arguments, wait, -1));
    ahead_.insert(static_cast<std::uint64_t>(ticket));
    return ticket;
}

Result<Json> Client::await(Ticket ticket, std::string_view command, milliseconds timeout,
                           const std::stop_token& stop) {
    const auto id = static_cast<std::uint64_t>(ticket);
    ahead_.erase(id);
    if (auto came = answers_.extract(id); !came.empty()) {
        Result<Json> result = result_of(std::move(came.mapped()));
        if (result) return result;
        return std::move(result).error().with_context(fmt::format("QMP command {}", command));
    }
    Wait wait(timeout, stop);
    if (slow_) wait.notify(slow_after_, [this, command] { slow_(command); });
    return await_answer(ticket, command, wait);
}

void Client::forget(Ticket ticket) {
    ahead_.erase(static_cast<std::uint64_t>(ticket));
    answers_.erase(static_cast<std::uint64_t>(ticket));
}

Result<Client::Ticket> Client::post(std::string_view command, const Json& arguments, Wait& wait,
                                    int fd) {
    const std::uint64_t id = ++last_id_;
    Json request = {{"execute", command}};
    if (!arguments.empty()) request["arguments"] = arguments;
    request["id"] = id;
    if (Status sent = send(to_line(request), wait, fd); !sent) {
        return std::move(sent).error().with_context(fmt::format("QMP command {}", command));
    }
    return Ticket{id};
}

Result<Json> Client::await_answer(Ticket ticket, std::string_view command, Wait& wait) {
    const auto id = static_cast<std::uint64_t>(ticket);
    const std::string what = fmt::format("QMP command {}", command);
    while (true) {
        Result<Json> message = receive(wait);
        if (!message) return std::move(message).error().with_context(what);
        if (message->contains("event")) {
            keep_event(*std::move(message));
            continue;
        }
        const auto answered = message->find("id");
        const bool numbered = answered != message->end() && answered->is_number_unsigned();
        const std::uint64_t number = numbered ? answered->get<std::uint64_t>() : 0;
        if (numbered && (number < id || ahead_.contains(number))) {
            keep_answer(*std::move(message));
            continue;
        }
        // The peer could not find the id in the request; the error can only belong to this command.
        const bool refused = answered == message->end() && message->contains("error");
        if (!refused && !(numbered && number == id)) {
            return broken(make_error(ErrorKind::kProtocol,
                                     "an answer to nothing that was asked: {}", brief(*message)))
                .with_context(what);
        }
        Result<Json> result = result_of(*std::move(message));
        if (!result) return std::move(result).error().with_context(what);
        return result;
    }
}

Result<Json> Client::result_of(Json answer) {
    if (answer.contains("return")) return std::move(answer["return"]);
    if (has_object(answer, "error")) {
        const Json& error = answer["error"];
        return make_error(ErrorKind::kPeer, "{}: {}", shown(error, "class"), shown(error, "desc"));
    }
    return broken(make_error(ErrorKind::kProtocol, "an answer with neither return nor error: {}",
                             brief(answer)));
}

Result<Json> Client::wait_event(std::string_view name, milliseconds timeout,
                                const std::stop_token& stop) {
    Wait wait(timeout, stop);
    Result<Json> event = find_event(name, wait);
    if (!event) return std::move(event).error().with_context(fmt::format("QMP event {}", name));
    return event;
}

Result<Json> Client::find_event(std::string_view name, Wait& wait) {
    const auto is_wanted = [name](const Json& event) { return name_of(event) == name; };
    const auto kept = std::find_if(events_.begin(), events_.end(), is_wanted);
    if (kept != events_.end()) {
        Json event = std::move(*kept);
        events_.erase(kept);
        return event;
    }
    while (true) {
        MIGRATE_ASSIGN(Json message, receive(wait));
        if (!message.contains("event")) {
            keep_answer(std::move(message));
        } else if (is_wanted(message)) {
            return message;
        } else {
            keep_event(std::move(message));
        }
    }
}

Status Client::await_input(milliseconds longest, const std::stop_token& stop) {
    Wait wait(longest, stop);
    Status status = wait.ready(socket_.get(), POLLIN);
    if (!status && status.error().kind() == ErrorKind::kTimeout) return {};
    return status;
}

void Client::forget_events(std::string_view name) {
    std::erase_if(events_, [name](const Json& event) { return event["event"] == name; });
}

pid_t Client::peer_pid() const {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

Status Client::read_pending() {
    // Limited, since a peer may always send more: the next call reads the rest.
    for (std::size_t i = 0; i < kMaxKeptEvents; ++i) {
        Wait wait(milliseconds(0), {});
        Result<Json> message = receive(wait);
        if (!message) {
            if (message.error().kind() == ErrorKind::kTimeout) return {};
            return std::move(message).error();
        }
        message->contains("event") ? keep_event(*std::move(message))
                                   : keep_answer(*std::move(message));
    }
    return {};
}

// An answer to a command that was given up is dropped.
void Client::keep_answer(Json answer) {
    const auto id = answer.find("id");
    if (id == answer.end() || !id->is_number_unsigned()) return;
    const auto number = id->get<std::uint64_t>();
    if (ahead_.contains(number)) answers_[number] = std::move(answer);
}

void Client::keep_event(Json event) {
    if (events_.size() == kMaxKeptEvents) {
        std::map<std::string, std::size_t> counts;
        for (const Json& kept : events_) ++counts[name_of(kept)];
        const auto most =
            std::max_element(counts.begin(), counts.end(),
                             [](const auto& a, const auto& b) { return a.second < b.second; });
        const auto oldest = std::find_if(events_.begin(), events_.end(), [&](const Json& kept) {
            return name_of(kept) == most->first;
        });
        log::debug("QMP: forgot an event nobody waited for: {}", brief(*oldest));
        events_.erase(oldest);
    }
    events_.push_back(std::move(event));
}

Status Client::send(std::string_view line, Wait& wait, int fd) {
    if (broken_) return *broken_;
    const std::size_t whole = line.size();
    while (!line.empty()) {
        const ssize_t sent =
            send_with_fd(socket_.get(), std::as_bytes(std::span(line)), fd, MSG_DONTWAIT);
        if (sent >= 0) {
            fd = -1;  // it was sent with the first byte
            line.remove_prefix(static_cast<std::size_t>(sent));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) {
            return broken(Error::system("send", errno).as(ErrorKind::kLostConnection));
        }
        if (Status status = wait.ready(socket_.get(), POLLOUT); !status) {
            // A command that was sent in part cannot be taken back.
            return line.size() == whole ? std::move(status).error()
                                        : broken(std::move(status).error());
        }
    }
    return {};
}

Result<Json> Client::receive(Wait& wait) {
    if (broken_) return *broken_;
    while (true) {
        if (auto message = stream_.next()) {
            if (!*message) return broken(std::move(*message).error());
            if ((*message)->is_object()) {
                if (observer_ && (*message)->contains("event")) observer_(**message);
                return **std::move(message);
            }
            return broken(
                make_error(ErrorKind::kProtocol, "this is no object: {}", brief(**message)));
        }
        MIGRATE_TRY(receive_more(wait));
    }
}

Status Client::receive_more(Wait& wait) {
    MIGRATE_TRY(wait.ready(socket_.get(), POLLIN));
    std::string bytes(kAnswerReadBytes, '\0');
    const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size > 0) {
        stream_.feed(std::string_view(bytes).substr(0, static_cast<std::size_t>(size)));
        return {};
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (size < 0) return broken(Error::system("receive", errno).as(ErrorKind::kLostConnection));
    return broken(Error(ErrorKind::kLostConnection,
                        stream_.in_message()
                            ? "the connection was closed in the middle of a message"
                            : "the connection was closed"));
}

Error Client::broken(Error error) {
    broken_ = error;
    return error;
}

}  // namespace migrate::qmp
