// SPDX-License-Identifier: Apache-2.0
// A QMP client on a unix socket, to drive QEMU. Invariants: an answer is matched to its command by
// id, so that a late answer is never taken for the next command's; every event goes to the observer
// as it arrives, and is kept for wait_event() while there is room.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "qmp/message.hpp"
#include "qmp/message_stream.hpp"

namespace migrate::qmp {

// query-qmp-schema has the largest answer; QEMU itself nests no deeper.
inline constexpr MessageStream::Limits kAnswerLimits{std::size_t{16} * 1024 * 1024, 1024};
inline constexpr std::size_t kMaxKeptEvents = 1024;

// Used by one thread at a time. Every wait ends with kTimeout after its timeout, with kCancelled
// when `stop` is requested, with kLostConnection when the peer is gone, and with kProtocol when the
// peer sends something that is not QMP. After the last two, and after a command that could be sent
// only in part, every call fails with that same error.
class Client {
  public:
    // Connects to "unix:PATH", reads the greeting and leaves capabilities negotiation, all within
    // the timeout. kUsage if the address has another form.
    static Result<std::unique_ptr<Client>> connect(std::string_view address,
                                                   std::chrono::milliseconds timeout,
                                                   const std::stop_token& stop);
    // The first half of connect(): returns a connected socket on which nothing was said yet. QEMU
    // serves one client at a time; the socket is connected even while it serves another.
    static Result<UniqueFd> dial(std::string_view address, std::chrono::milliseconds timeout,
                                 const std::stop_token& stop);
    // The second half of connect(): reads the greeting and leaves capabilities negotiation.
    static Result<std::unique_ptr<Client>> adopt(UniqueFd socket, std::chrono::milliseconds timeout,
                                                 const std::stop_token& stop);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Returns the content of "return". kPeer if the peer answered with an error; the message has
    // its class and desc. `arguments` is an object. After kTimeout or kCancelled the peer may still
    // have executed the command.
    Result<Json> execute(std::string_view command, const Json& arguments,
                         std::chrono::milliseconds timeout, const std::stop_token& stop);

    // The same, with a descriptor sent along, as "getfd" needs it; the descriptor still belongs to
    // the caller.
    Result<Json> execute_with_fd(std::string_view command, const Json& arguments, int fd,
                                 std::chrono::milliseconds timeout, const std::stop_token& stop);

    // A command whose answer was not read yet.
    enum class Ticket : std::uint64_t {};

    // Sends a command without waiting for its answer: QEMU executes commands in the order in which
    // they were sent, and need not wait for this side between two of them. Call await() once for
    // it, or forget(). An Error has the meaning of one of execute().
    Result<Ticket> send_ahead(std::string_view command, const Json& arguments,
                              std::chrono::milliseconds timeout, const std::stop_token& stop);
    // Returns what execute() would have returned. `command` is its name, for messages.
    Result<Json> await(Ticket ticket, std::string_view command, std::chrono::milliseconds timeout,
                       const std::stop_token& stop);
    // Drops the answer, whether or not it has come.
    void forget(Ticket ticket);

    // Sets a function that is called with each event when it is read, in order and before the
    // answer that follows it; no event is left out. It must not call the client.
    void observe(std::function<void(const Json&)> observer) { observer_ = std::move(observer); }

    // Sets a function that is called once for each command that has no answer after `time`; the
    // wait for the answer goes on. It must not call the client.
    void notice_slow(std::chrono::milliseconds time, std::function<void(std::string_view)> slow) {
        slow_after_ = time;
        slow_ = std::move(slow);
    }

    // Returns the oldest event of that name which was not returned yet, whole: {"event", "data",
    // "timestamp"}. Events of other names are kept for later calls, at most kMaxKeptEvents. If
    // there are more, the oldest event of the most frequent name is dropped, so that other names
    // lose none.
    Result<Json> wait_event(std::string_view name, std::chrono::milliseconds timeout,
                            const std::stop_token& stop);

    // Waits until the peer sends something or is gone (the next call reports that), or for
    // `longest`.
    Status await_input(std::chrono::milliseconds longest, const std::stop_token& stop);

    // Reads the messages that have already arrived, without waiting.
    Status read_pending();

    // Drops the events of that name that have arrived and were not returned yet.
    void forget_events(std::string_view name);
    // The socket, for a wait until something arrives. It belongs to the client.
    int descriptor() const { return socket_.get(); }
    // The process that listened on the socket; 0 if it is in a PID namespace that cannot be seen.
    pid_t peer_pid() const;

    // The greeting's "version".
    const Json& version() const { return version_; }

  private:
    class Wait;

    explicit Client(UniqueFd socket) : socket_(std::move(socket)) {}
    Status negotiate(Wait& wait);
    Result<Json> execute(std::string_view command, const Json& arguments, Wait& wait, int fd = -1);
    Result<Ticket> post(std::string_view command, const Json& arguments, Wait& wait, int fd);
    Result<Json> await_answer(Ticket ticket, std::string_view command, Wait& wait);
    Result<Json> find_event(std::string_view name, Wait& wait);
    Status send(std::string_view line, Wait& wait, int fd);
    Result<Json> receive(Wait& wait);
    Status receive_more(Wait& wait);
    Result<Json> result_of(Json answer);
    void keep_event(Json event);
    void keep_answer(Json answer);
    Error broken(Error error);

    UniqueFd socket_;
    MessageStream stream_{kAnswerLimits};
    Json version_;
    std::function<void(const Json&)> observer_;
    std::chrono::milliseconds slow_after_{};
    std::function<void(std::string_view)> slow_;  // empty: nobody is told
    std::deque<Json> events_;
    std::uint64_t last_id_ = 0;
    std::set<std::uint64_t> ahead_;          // commands sent ahead that nobody has awaited yet
    std::map<std::uint64_t, Json> answers_;  // their answers, as far as they have come
    std::optional<Error> broken_;
};

}  // namespace migrate::qmp
