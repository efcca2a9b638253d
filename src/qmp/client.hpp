// A QMP client on a unix socket, to drive QEMU. Invariants: an answer is matched to its command by
// id, so that one that came too late is never taken for the next one's; every event goes to the
// observer as it arrives, and is kept for wait_event() while there is room.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "qmp/message.hpp"
#include "qmp/message_stream.hpp"

namespace migrate::qmp {

// query-qmp-schema's answer is the largest there is; QEMU itself nests no deeper.
inline constexpr MessageStream::Limits kAnswerLimits{std::size_t{16} * 1024 * 1024, 1024};
inline constexpr std::size_t kMaxKeptEvents = 1024;

// Used by one thread at a time. Every wait ends with kTimeout after its timeout, with kCancelled
// when `stop` is requested, with kLostConnection when the peer is gone, and with kProtocol when it
// sends what is no QMP. After the last two, and after a command that could be sent only in part,
// every call fails with that same error.
class Client {
  public:
    // To "unix:PATH": connects, reads the greeting and leaves capabilities negotiation, all within
    // the timeout. kUsage if the address is no such thing.
    static Result<std::unique_ptr<Client>> connect(std::string_view address,
                                                   std::chrono::milliseconds timeout,
                                                   const std::stop_token& stop);
    // The first half of it: a connected socket, on which nothing was said yet. It is connected even
    // while QEMU, which serves one client at a time, serves another.
    static Result<UniqueFd> dial(std::string_view address, std::chrono::milliseconds timeout,
                                 const std::stop_token& stop);
    // The second half: reads the greeting and leaves capabilities negotiation.
    static Result<std::unique_ptr<Client>> adopt(UniqueFd socket, std::chrono::milliseconds timeout,
                                                 const std::stop_token& stop);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // What was in "return". kPeer if the peer answered with an error, whose class and desc are in
    // the message. `arguments` is an object. After kTimeout or kCancelled the command may have been
    // carried out all the same.
    Result<Json> execute(std::string_view command, const Json& arguments,
                         std::chrono::milliseconds timeout, const std::stop_token& stop);

    // The same, with a descriptor sent along, as "getfd" takes it; it stays the caller's.
    Result<Json> execute_with_fd(std::string_view command, const Json& arguments, int fd,
                                 std::chrono::milliseconds timeout, const std::stop_token& stop);

    // Called with each event when it is read, in their order and before the answer that follows it;
    // none is left out. It must not call the client.
    void observe(std::function<void(const Json&)> observer) { observer_ = std::move(observer); }

    // The oldest event of that name which was not given out yet, whole: {"event", "data",
    // "timestamp"}. Those of other names are kept for later calls, kMaxKeptEvents at most; then the
    // oldest of the name that has most of them goes, so that no other name's is lost for it.
    Result<Json> wait_event(std::string_view name, std::chrono::milliseconds timeout,
                            const std::stop_token& stop);

    // Until the peer says something or is gone, which the next call will tell, or for `longest`.
    Status await_input(std::chrono::milliseconds longest, const std::stop_token& stop);

    // Reads what has come already, without waiting.
    Status read_pending();

    // Forgets the events of that name that have come and were not given out.
    void forget_events(std::string_view name);
    // The process that listened on the socket; 0 if it is in a namespace that cannot be seen.
    pid_t peer_pid() const;

    // The greeting's "version".
    const Json& version() const { return version_; }

  private:
    class Wait;

    explicit Client(UniqueFd socket) : socket_(std::move(socket)) {}
    Status negotiate(Wait& wait);
    Result<Json> execute(std::string_view command, const Json& arguments, Wait& wait, int fd = -1);
    Result<Json> find_event(std::string_view name, Wait& wait);
    Status send(std::string_view line, Wait& wait, int fd);
    Result<Json> receive(Wait& wait);
    Status receive_more(Wait& wait);
    void note(const Json& message) const;
    Result<Json> result_of(Json answer);
    void keep_event(Json event);
    Error broken(Error error);

    UniqueFd socket_;
    MessageStream stream_{kAnswerLimits};
    Json version_;
    std::function<void(const Json&)> observer_;
    std::deque<Json> events_;
    std::uint64_t last_id_ = 0;
    std::optional<Error> broken_;
};

}  // namespace migrate::qmp
