// SPDX-License-Identifier: Apache-2.0
#include "transport/socket.hpp"

#include <linux/socket.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "base/units.hpp"
#include "transport/parts_cursor.hpp"

namespace migrate::transport {
namespace {

template <typename T>
Status set_option(int fd, int level, int name, const T& value, std::string_view what) {
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0) {
        return Error::system(fmt::format("set {} on a socket", what), errno);
    }
    return {};
}

// An MPTCP socket has no TCP_USER_TIMEOUT (Linux 6.18): there, the waits of this class alone notice
// a peer that does not answer.
Status set_user_timeout(int fd, unsigned timeout_ms) {
    int protocol = 0;
    socklen_t size = sizeof protocol;
    if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
        protocol == IPPROTO_MPTCP) {
        return {};
    }
    return set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms, "TCP_USER_TIMEOUT");
}

// Rate of the fastest path that is to be filled: 200 Gbit/s.
constexpr std::uint64_t kPathBytesPerMicrosecond = 25'000;
// Least sum of all channels: a channel's thread does not run all the time, so the data that its
// peer can take meanwhile must be ready.
constexpr std::uint64_t kLeastInFlight = 2 * kMiB;
// Limits of one channel. With less than half a packet of the default size its threads would run in
// shorter turns, which costs more than the caches save. From tcp_wmem[2] on (4 MiB by default) the
// kernel's own sizing gives as much.
constexpr std::uint64_t kLeastOfOne = 256 * kKiB;
constexpr std::uint64_t kMostOfOne = 4 * kMiB;

// Time that the kernel gets to report the completion of a send whose bytes were acknowledged. A
// network card's driver may free its buffers late.
constexpr std::chrono::milliseconds kCompletionLimit{1000};

// drain() takes this much without a look at the time: the kernel's buffer holds about as much.
constexpr std::uint64_t kDrainedAtOnce = 8 * kMiB;

// Sets SO_SNDBUF or SO_RCVBUF, which also stops the kernel from sizing that buffer. Returns false
// if the kernel's limit leaves clearly less. The kernel doubles the requested size for its
// bookkeeping (socket(7)).
Result<bool> bound_buffer(int fd, int name, int bytes, std::string_view what) {
    MIGRATE_TRY(set_option(fd, SOL_SOCKET, name, bytes, what));
    int given = 0;
    socklen_t size = sizeof given;
    return ::getsockopt(fd, SOL_SOCKET, name, &given, &size) == 0 && given / 2 >= bytes / 4 * 3;
}

Status set_buffer(int fd, BufferSide side, std::uint64_t bytes) {
    const bool sends = side == BufferSide::kSends;
    const int name = sends ? SO_SNDBUF : SO_RCVBUF;
    // The kernel keeps the double in an int.
    const int wanted = static_cast<int>(std::min<std::uint64_t>(bytes, INT_MAX / 2));
    MIGRATE_TRY(set_option(fd, SOL_SOCKET, name, wanted, "a buffer's size"));
    int given = 0;
    socklen_t size = sizeof given;
    // The kernel doubles the size for its bookkeeping, and cuts it to its limit without an error.
    if (::getsockopt(fd, SOL_SOCKET, name, &given, &size) == 0 && given / 2 >= wanted) {
        return {};
    }
    return make_error(ErrorKind::kRefused,
                      "the {} allows no socket buffer of {} bytes: raise {} there, or lower "
                      "multifd-socket-buffer",
                      sends ? "sender's host" : "receiver's host", bytes,
                      sends ? "net.core.wmem_max" : "net.core.rmem_max");
}

// Skips `bytes` that were moved; returns the remaining parts.
std::span<iovec> skip(std::span<iovec> parts, std::size_t bytes) {
    while (!parts.empty() && bytes >= parts.front().iov_len) {
        bytes -= parts.front().iov_len;
        parts = parts.subspan(1);
    }
    if (!parts.empty()) {
        parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + bytes;
        parts.front().iov_len -= bytes;
    }
    return parts;
}

Error ended_in_mid_packet() {
    return make_error(ErrorKind::kLostConnection,
                      "the peer closed the connection in the middle of a packet");
}

std::span<const iovec> one_call(std::span<iovec> parts) {
    return parts.first(std::min<std::size_t>(parts.size(), IOV_MAX));
}

// Returns true if the peer's host has answered within `lately`, or owes no answer: neither to data
// nor to zero-window probes, which come ever further apart and of which one may be in progress.
bool host_answers(int fd, std::chrono::milliseconds lately) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    return std::chrono::milliseconds(info.tcpi_last_ack_recv) < lately ||
           (info.tcpi_retransmits == 0 && info.tcpi_probes <= 1);
}

// Adds what the kernel knows of the path to the reason of a failed send: a path that loses packets,
// or takes no large ones, cannot be told from a peer that is slow otherwise.
Error with_losses(Error error, int fd) {
    if (error.kind() != ErrorKind::kLostConnection && error.kind() != ErrorKind::kTimeout) {
        return error;
    }
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return error;
    if (info.tcpi_total_retrans == 0) return error;
    return Error(error.kind(),
                 fmt::format("{} (TCP sent {} packets of up to {} bytes again, round trip {:.1f} "
                             "ms: if the path takes small packets only, check its MTU)",
                             error.message(), info.tcpi_total_retrans, info.tcpi_snd_mss,
                             static_cast<double>(info.tcpi_rtt) / 1000.0));
}

// Returns the connection's smoothed round-trip time according to the kernel (TCP_INFO); 0 if not
// known.
std::chrono::microseconds round_trip_time(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
    return std::chrono::microseconds(info.tcpi_rtt);
}

timeval to_timeval(std::chrono::milliseconds time) {
    return {.tv_sec = static_cast<time_t>(time.count() / 1000),
            .tv_usec = static_cast<suseconds_t>(time.count() % 1000 * 1000)};
}

}  // namespace

Result<Socket> Socket::adopt(UniqueFd fd, const StallLimits& limits) {
    auto stream = make_plain_stream(fd.get());
    return adopt(std::move(fd), limits, std::move(stream));
}

Result<Socket> Socket::adopt(UniqueFd fd, const StallLimits& limits,
                             std::unique_ptr<Stream> stream) {
    const int on = 1;
    MIGRATE_TRY(set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, on, "TCP_NODELAY"));
    Socket socket(std::move(fd), std::move(stream));
    const Result<Endpoint> peer = Endpoint::peer_of(socket.fd_.get());
    if (peer) socket.peer_ = *peer;
    MIGRATE_TRY(socket.set_limits(limits));
    return socket;
}

void Socket::encrypt(std::unique_ptr<Stream> stream, SecurityInfo info) {
    zero_copy_ = nullptr;
    stream_ = std::move(stream);
    security_ = std::move(info);
}

Result<Endpoint> Socket::peer() const {
    if (peer_) return *peer_;
    return Error(ErrorKind::kLostConnection, "the address of the peer is not known");
}

Result<Endpoint> Socket::own() const { return Endpoint::own_of(fd_.get()); }

TcpFigures Socket::tcp_figures() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
    // linux/tcp.h, since Linux 5.16.
    constexpr int kTcpIsMptcp = 43;
    int mptcp = 0;
    socklen_t one = sizeof mptcp;
    static_cast<void>(::getsockopt(fd_.get(), IPPROTO_TCP, kTcpIsMptcp, &mptcp, &one));
    return {info.tcpi_total_retrans, std::chrono::microseconds(info.tcpi_rtt), mptcp != 0};
}

Status Socket::set_limits(const StallLimits& limits) {
    const int fd = fd_.get();
    // The timeout also ends a connection whose peer has no room, so it is the longer of the limits.
    const auto user_timeout =
        static_cast<unsigned>(std::min<std::int64_t>(limits.busy.count(), INT_MAX));
    MIGRATE_TRY(set_user_timeout(fd, user_timeout));
    MIGRATE_TRY(set_option(fd, SOL_SOCKET, SO_RCVTIMEO, to_timeval(limits.busy), "SO_RCVTIMEO"));
    // A send checks several times within the limit whether anything moved.
    const auto slice = std::max(limits.silent / 4, std::chrono::milliseconds(1));
    MIGRATE_TRY(set_option(fd, SOL_SOCKET, SO_SNDTIMEO, to_timeval(slice), "SO_SNDTIMEO"));
    limits_ = limits;
    return {};
}

Status Socket::share_path(std::uint16_t channels) {
    const auto bytes = static_cast<int>(in_flight_limit(round_trip_time(fd_.get()), channels));
    // Only if the change can be undone.
    int locks = 0;
    if (bytes == 0 || ::setsockopt(fd_.get(), SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof locks) != 0)
        return {};
    MIGRATE_ASSIGN(const bool sends, bound_buffer(fd_.get(), SO_SNDBUF, bytes, "SO_SNDBUF"));
    MIGRATE_ASSIGN(const bool receives, bound_buffer(fd_.get(), SO_RCVBUF, bytes, "SO_RCVBUF"));
    locks = (sends ? SOCK_SNDBUF_LOCK : 0) | (receives ? SOCK_RCVBUF_LOCK : 0);
    return set_option(fd_.get(), SOL_SOCKET, SO_BUF_LOCK, locks, "SO_BUF_LOCK");
}

Status Socket::use_buffer(BufferSide side, std::uint64_t bytes) {
    return set_buffer(fd_.get(), side, bytes);
}

Status check_socket_buffer(BufferSide side, std::uint64_t bytes) {
    // The limit holds for sockets of every kind. A confined receiver may create no others.
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return Error::system("create a pair of sockets", errno);
    }
    const UniqueFd probe(pair[0]);
    const UniqueFd other(pair[1]);
    return set_buffer(probe.get(), side, bytes);
}

// Returns success if a send that has waited for the time of SO_SNDTIMEO may continue to wait.
Status Socket::keep_waiting(Stillness& still) const {
    if (room_goes_on_) {
        if (room_goes_on_()) return {};
        return Error(ErrorKind::kCancelled, "cancelled while the peer took no data");
    }
    const std::uint64_t left = unacknowledged_bytes();
    const auto now = std::chrono::steady_clock::now();
    if (left < still.unacknowledged) still.since = now;
    still.unacknowledged = left;
    const bool answers = host_answers(fd_.get(), limits_.silent);
    if (expects_back_pressure_ && answers) return {};
    const auto limit = answers ? limits_.busy : limits_.silent;
    if (now - still.since < limit) return {};
    return make_error(ErrorKind::kTimeout, "the peer took no data for {} ms (io-timeout)",
                      limit.count());
}

Status Socket::wait_for_room_while(std::function<bool()> goes_on, std::chrono::milliseconds every) {
    MIGRATE_TRY(set_user_timeout(fd_.get(), 0));
    MIGRATE_TRY(set_option(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, to_timeval(every), "SO_SNDTIMEO"));
    room_goes_on_ = std::move(goes_on);
    return {};
}

Status Socket::expect_back_pressure() {
    // The timeout also ends a connection whose peer answers that it has no room.
    MIGRATE_TRY(set_user_timeout(fd_.get(), 0));
    expects_back_pressure_ = true;
    return {};
}

// Sends everything by `call`, which sends as much as it can of the parts that it gets.
template <typename Call>
Status Socket::send_all(std::span<iovec> parts, Call call) {
    Stillness still{std::chrono::steady_clock::now(), UINT64_MAX};
    parts = skip(parts, 0);
    while (!parts.empty()) {
        const Stream::Moved sent = call(one_call(parts));
        if (!sent) return with_losses(sent.error(), fd_.get());
        const std::optional<std::size_t> moved = *sent;
        if (!moved) {
            Status waits = keep_waiting(still);
            if (!waits) return with_losses(std::move(waits).error(), fd_.get());
            continue;
        }
        counters_->sent.fetch_add(*moved, std::memory_order_relaxed);
        parts = skip(parts, *moved);
        if (!parts.empty()) still = {std::chrono::steady_clock::now(), UINT64_MAX};
    }
    return {};
}

Status Socket::send(std::span<iovec> parts) {
    return send_all(parts, [&](std::span<const iovec> some) {
        return stream_->send(some, Stream::Mode::kWait);
    });
}

Status Socket::send_more(std::span<iovec> parts) {
    return send_all(parts, [&](std::span<const iovec> some) {
        return stream_->send(some, Stream::Mode::kMore);
    });
}

Status Socket::send_in_place(std::span<iovec> parts, std::size_t first) {
    if (zero_copy_ == nullptr) return send(parts);
    if (!zero_copy_->avoids_copies()) {
        zero_copy_->note_copy();
        return send(parts);
    }
    MIGRATE_TRY(send_more(parts.first(first)));
    return send_all(parts.subspan(first),
                    [&](std::span<const iovec> some) { return zero_copy_->send(some); });
}

Status Socket::finish_in_place() {
    if (zero_copy_ == nullptr) return {};
    MIGRATE_TRY(zero_copy_->take_completions());
    Stillness still{WaitClock::now(), UINT64_MAX};
    auto acknowledged = kNever;  // since when all has been
    while (zero_copy_->pending() != 0) {
        const auto now = WaitClock::now();
        if (unacknowledged_bytes() != 0) {
            acknowledged = kNever;
        } else if (acknowledged == kNever) {
            acknowledged = now;
        } else if (now - acknowledged >= kCompletionLimit) {
            zero_copy_->fall_back(
                fmt::format("the kernel did not report the end of {} sends within {} ms",
                            zero_copy_->pending(), kCompletionLimit.count()));
            break;
        }
        const auto slice =
            std::clamp(limits_.silent / 4, std::chrono::milliseconds(1), kCompletionLimit);
        MIGRATE_ASSIGN(const auto waited, zero_copy_->await_completions(now + slice));
        // Whoever sends next finds that the connection has ended.
        if (waited == ZeroCopyCalls::Waited::kEnded) return {};
        if (waited == ZeroCopyCalls::Waited::kCompletion) {
            still = {WaitClock::now(), UINT64_MAX};
        } else if (acknowledged == kNever) {
            MIGRATE_TRY(keep_waiting(still));
        }
    }
    zero_copy_->end_round();
    return {};
}

Status Socket::use_zero_copy() {
    ZeroCopySender* const sender = stream_->zero_copy();
    if (sender == nullptr) {
        return Error(ErrorKind::kRefused, "this kind of connection copies what it sends");
    }
    MIGRATE_TRY(sender->allow());
    zero_copy_ = sender;
    return {};
}

ZeroCopyFigures Socket::zero_copy_figures() const {
    return zero_copy_ != nullptr ? zero_copy_->figures() : ZeroCopyFigures();
}

std::string Socket::zero_copy_fallback() const {
    return zero_copy_ != nullptr ? zero_copy_->fallback() : std::string();
}

bool Socket::peer_is_local() const {
    const auto own = this->own();
    return peer_ && own && (peer_->is_loopback() || peer_->same_host(*own));
}

Status Socket::send(std::span<const std::byte> bytes) {
    iovec part = part_of(bytes);
    return send(std::span(&part, 1));
}

Status Socket::send_now(std::span<const std::byte> bytes) {
    const iovec part = part_of(bytes);
    MIGRATE_ASSIGN(const auto moved, stream_->send(std::span(&part, 1), Stream::Mode::kNow));
    counters_->sent.fetch_add(moved.value_or(0), std::memory_order_relaxed);
    if (moved == bytes.size()) return {};
    return Error(ErrorKind::kTimeout, "the peer has no room");
}

// Counts what was received in a wait for more of a packet.
Result<std::size_t> Socket::received(Stream::Moved moved) const {
    if (!moved) return std::move(moved).error();
    if (!*moved) {
        return make_error(ErrorKind::kTimeout,
                          "the peer sent nothing for {} ms in the middle of a packet (io-timeout)",
                          limits_.busy.count());
    }
    if (**moved == 0) return ended_in_mid_packet();
    counters_->received.fetch_add(**moved, std::memory_order_relaxed);
    return **moved;
}

Status Socket::receive(std::span<iovec> parts) {
    // Skipping 0 bytes drops empty parts: a read of 0 bytes would look like the end of the stream.
    parts = skip(parts, 0);
    while (!parts.empty()) {
        MIGRATE_ASSIGN(const std::size_t moved,
                       received(stream_->receive(one_call(parts), Stream::Mode::kWait)));
        parts = skip(parts, moved);
    }
    return {};
}

Status Socket::receive(std::span<std::byte> bytes) {
    iovec part{bytes.data(), bytes.size()};
    return receive(std::span(&part, 1));
}

Result<Arrival> Socket::receive_first(std::span<std::byte> bytes) {
    const iovec part{bytes.data(), bytes.size()};
    MIGRATE_ASSIGN(const auto moved, stream_->receive(std::span(&part, 1), Stream::Mode::kWait));
    if (!moved) return Arrival::kIdle;
    if (*moved == 0) return Arrival::kClosed;
    counters_->received.fetch_add(*moved, std::memory_order_relaxed);
    MIGRATE_TRY(receive(bytes.subspan(*moved)));
    return Arrival::kComplete;
}

Result<std::size_t> Socket::receive_now(std::span<std::byte> bytes) {
    const iovec part{bytes.data(), bytes.size()};
    MIGRATE_ASSIGN(const auto moved, stream_->receive(std::span(&part, 1), Stream::Mode::kNow));
    if (moved == std::size_t{0}) {
        return Error(ErrorKind::kLostConnection, "the peer closed the connection");
    }
    counters_->received.fetch_add(moved.value_or(0), std::memory_order_relaxed);
    return moved.value_or(0);
}

Status Socket::discard(std::uint64_t bytes) {
    while (bytes != 0) {
        MIGRATE_ASSIGN(const std::size_t moved, received(stream_->discard(bytes)));
        bytes -= moved;
    }
    return {};
}

bool Socket::has_room() const { return writable_within(fd_.get(), std::chrono::milliseconds(0)); }

bool Socket::has_input() const {
    return stream_->has_buffered_input() ||
           readable_within(fd_.get(), std::chrono::milliseconds(0));
}

Result<InputWait> Socket::await_input(WaitClock::time_point until, const Wakeup& wakeup) const {
    if (stream_->has_buffered_input()) return InputWait::kInput;
    std::array<pollfd, 2> polled{pollfd{fd_.get(), POLLIN, 0}, pollfd{wakeup.fd(), POLLIN, 0}};
    const int ready = wait_for_any(polled, until);
    if (ready < 0) return Error::system("wait for the peer", errno);
    if (polled[1].revents != 0 && wakeup.clear()) return InputWait::kWoken;
    return ready > 0 ? InputWait::kInput : InputWait::kTimeout;
}

void Socket::finish_sending() { stream_->finish_sending(); }

void Socket::drain(WaitClock::time_point until) {
    std::array<std::byte, std::size_t{16} * 1024> buffer;
    std::uint64_t dropped = 0;
    while (dropped < kDrainedAtOnce || WaitClock::now() < until) {
        const Result<std::size_t> moved = receive_now(buffer);
        if (!moved) return;
        dropped += *moved;
        pollfd polled{fd_.get(), POLLIN, 0};
        if (*moved == 0 && wait_for_any(std::span(&polled, 1), until) <= 0) return;
    }
}

void Socket::shutdown() const { ::shutdown(fd_.get(), SHUT_RDWR); }

std::uint64_t Socket::unacknowledged_bytes() const {
    int bytes = 0;
    if (::ioctl(fd_.get(), SIOCOUTQ, &bytes) != 0) return 0;
    return static_cast<std::uint64_t>(std::max(bytes, 0));
}

std::uint64_t in_flight_limit(std::chrono::microseconds round_trip, std::uint16_t channels) {
    if (round_trip.count() <= 0) return 0;
    const auto microseconds = static_cast<std::uint64_t>(round_trip.count());
    if (microseconds > channels * kMostOfOne / kPathBytesPerMicrosecond) return 0;
    const std::uint64_t all = std::max(kLeastInFlight, microseconds * kPathBytesPerMicrosecond);
    const std::uint64_t one = all / channels;
    return one >= kLeastOfOne ? one : 0;
}

}  // namespace migrate::transport
