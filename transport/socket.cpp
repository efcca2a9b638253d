#include "transport/socket.hpp"

#include <arpa/inet.h>
#include <linux/socket.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "base/raw_syscall.hpp"
#include "base/units.hpp"

namespace migrate::transport {
namespace {

template <typename T>
Status set_option(int fd, int level, int name, const T& value, std::string_view what) {
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0) {
        return Error::system(fmt::format("set {} on a socket", what), errno);
    }
    return {};
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

// Sets SO_SNDBUF or SO_RCVBUF, which also stops the kernel from sizing that buffer. Returns false
// if the kernel's limit leaves clearly less. The kernel doubles the requested size for its
// bookkeeping (socket(7)).
Result<bool> bound_buffer(int fd, int name, int bytes, std::string_view what) {
    MIGRATE_TRY(set_option(fd, SOL_SOCKET, name, bytes, what));
    int given = 0;
    socklen_t size = sizeof given;
    return ::getsockopt(fd, SOL_SOCKET, name, &given, &size) == 0 && given / 2 >= bytes / 4 * 3;
}

// Skips `bytes` that were moved; returns the remaining parts.
std::span<iovec> advance(std::span<iovec> parts, std::size_t bytes) {
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

bool would_block(int code) { return code == EAGAIN || code == EWOULDBLOCK; }

Error lost(std::string_view what, int code) {
    return Error::system(what, code).as(ErrorKind::kLostConnection);
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

// Returns the bytes sent that the peer's host has not acknowledged. The number falls while a send
// waits, unless nothing moves.
int unacknowledged(int fd) {
    int bytes = 0;
    return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

timeval to_timeval(std::chrono::milliseconds time) {
    return {.tv_sec = static_cast<time_t>(time.count() / 1000),
            .tv_usec = static_cast<suseconds_t>(time.count() % 1000 * 1000)};
}

}  // namespace

Result<Socket> Socket::adopt(UniqueFd fd, const StallLimits& limits,
                             std::uint64_t already_received) {
    const int on = 1;
    MIGRATE_TRY(set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, on, "TCP_NODELAY"));
    // The timeout also ends a connection whose peer has no room, so it is the longer of the limits.
    const auto user_timeout =
        static_cast<unsigned>(std::min<std::int64_t>(limits.busy.count(), INT_MAX));
    MIGRATE_TRY(
        set_option(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout, "TCP_USER_TIMEOUT"));
    MIGRATE_TRY(
        set_option(fd.get(), SOL_SOCKET, SO_RCVTIMEO, to_timeval(limits.busy), "SO_RCVTIMEO"));
    // A send checks several times within the limit whether anything moved.
    const auto slice = std::max(limits.silent / 4, std::chrono::milliseconds(1));
    MIGRATE_TRY(set_option(fd.get(), SOL_SOCKET, SO_SNDTIMEO, to_timeval(slice), "SO_SNDTIMEO"));
    Socket socket(std::move(fd), limits);
    socket.counters_->received.store(already_received, std::memory_order_relaxed);
    return socket;
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

Error Socket::stalled(std::string_view what, std::chrono::milliseconds time) {
    return make_error(ErrorKind::kTimeout, "the peer {} for {} ms (io-timeout)", what,
                      time.count());
}

// Returns success if a send that has waited for the time of SO_SNDTIMEO may continue to wait.
Status Socket::keep_waiting(Stillness& still) const {
    if (room_goes_on_) {
        if (room_goes_on_()) return {};
        return Error(ErrorKind::kCancelled, "cancelled while the peer took no data");
    }
    const int left = unacknowledged(fd_.get());
    const auto now = std::chrono::steady_clock::now();
    if (left < still.unacknowledged) still.since = now;
    still.unacknowledged = left;
    const bool answers = host_answers(fd_.get(), limits_.silent);
    if (expects_back_pressure_ && answers) return {};
    const auto limit = answers ? limits_.busy : limits_.silent;
    if (now - still.since < limit) return {};
    return stalled("took no data", limit);
}

Status Socket::wait_for_room_while(std::function<bool()> goes_on, std::chrono::milliseconds every) {
    const unsigned none = 0;
    MIGRATE_TRY(set_option(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, none, "TCP_USER_TIMEOUT"));
    MIGRATE_TRY(set_option(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, to_timeval(every), "SO_SNDTIMEO"));
    room_goes_on_ = std::move(goes_on);
    return {};
}

Status Socket::expect_back_pressure() {
    // The timeout also ends a connection whose peer answers that it has no room.
    const unsigned none = 0;
    MIGRATE_TRY(set_option(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, none, "TCP_USER_TIMEOUT"));
    expects_back_pressure_ = true;
    return {};
}

Status Socket::send(std::span<iovec> parts) {
    Stillness still{std::chrono::steady_clock::now(), INT_MAX};
    while (!parts.empty()) {
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
        const ssize_t moved = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
        if (moved < 0) {
            if (errno == EINTR) continue;
            if (would_block(errno)) {
                MIGRATE_TRY(keep_waiting(still));
                continue;
            }
            if (errno == EFAULT) return Error::system("read the guest memory to send", errno);
            return lost("send to the peer", errno);
        }
        counters_->sent.fetch_add(static_cast<std::uint64_t>(moved), std::memory_order_relaxed);
        parts = advance(parts, static_cast<std::size_t>(moved));
        if (!parts.empty()) still = {std::chrono::steady_clock::now(), INT_MAX};
    }
    return {};
}

Status Socket::send(std::span<const std::byte> bytes) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return send(std::span(&part, 1));
}

Status Socket::receive_loop(iovec* part, std::size_t count, int flags) {
    // Advancing by 0 drops empty parts: a read of 0 bytes would look like the end of the stream.
    std::span<iovec> parts = advance(std::span(part, count), 0);
    while (!parts.empty()) {
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
        const ssize_t moved = ::recvmsg(fd_.get(), &message, flags);
        if (moved == 0) {
            return make_error(ErrorKind::kLostConnection,
                              "the peer closed the connection in mid-packet");
        }
        if (moved < 0) {
            if (errno == EINTR) continue;
            if (would_block(errno))
                return stalled("stopped in mid-packet and sent nothing", limits_.busy);
            if (errno == EFAULT) {
                return Error::system("write to the sink's memory", errno).as(ErrorKind::kFault);
            }
            return lost("receive from the peer", errno);
        }
        counters_->received.fetch_add(static_cast<std::uint64_t>(moved), std::memory_order_relaxed);
        parts = advance(parts, static_cast<std::size_t>(moved));
    }
    return {};
}

Status Socket::receive(std::span<iovec> parts) {
    return receive_loop(parts.data(), parts.size(), MSG_WAITALL);
}

Status Socket::receive(std::span<std::byte> bytes) {
    iovec part{bytes.data(), bytes.size()};
    return receive_loop(&part, 1, MSG_WAITALL);
}

Result<Arrival> Socket::receive_first(std::span<std::byte> bytes) {
    while (true) {
        const ssize_t moved = ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_WAITALL);
        if (moved == 0) return Arrival::kClosed;
        if (moved > 0) {
            counters_->received.fetch_add(static_cast<std::uint64_t>(moved),
                                          std::memory_order_relaxed);
            MIGRATE_TRY(receive(bytes.subspan(static_cast<std::size_t>(moved))));
            return Arrival::kComplete;
        }
        if (errno == EINTR) continue;
        if (would_block(errno)) return Arrival::kIdle;
        return lost("receive from the peer", errno);
    }
}

Status Socket::discard(std::uint64_t bytes) {
    while (bytes != 0) {
        // MSG_TRUNC on TCP drops the bytes without copying them (tcp(7)). This uses the raw system
        // call, because the sanitizers' recv() assumes that the null buffer is written to.
        const long moved = raw_syscall(SYS_recvfrom, fd_.get(), nullptr, bytes,
                                       MSG_TRUNC | MSG_WAITALL, nullptr, nullptr);
        if (moved == 0) {
            return make_error(ErrorKind::kLostConnection,
                              "the peer closed the connection in mid-packet");
        }
        if (moved < 0) {
            if (errno == EINTR) continue;
            if (would_block(errno))
                return stalled("stopped in mid-packet and sent nothing", limits_.busy);
            return lost("receive from the peer", errno);
        }
        counters_->received.fetch_add(static_cast<std::uint64_t>(moved), std::memory_order_relaxed);
        bytes -= static_cast<std::uint64_t>(moved);
    }
    return {};
}

void Socket::shutdown() const { ::shutdown(fd_.get(), SHUT_RDWR); }

std::string Socket::peer_name() const { return endpoint_name(fd_.get(), true); }

std::string endpoint_name(int fd, bool remote) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if ((remote ? ::getpeername(fd, generic, &size) : ::getsockname(fd, generic, &size)) != 0)
        return "?";
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address.ss_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
        ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
        return fmt::format("{}:{}", text.data(), ntohs(v4->sin_port));
    }
    if (address.ss_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
        ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
        return fmt::format("[{}]:{}", text.data(), ntohs(v6->sin6_port));
    }
    return "?";
}

std::uint64_t in_flight_limit(std::chrono::microseconds round_trip, std::uint16_t channels) {
    if (round_trip.count() <= 0) return 0;
    const auto microseconds = static_cast<std::uint64_t>(round_trip.count());
    if (microseconds > channels * kMostOfOne / kPathBytesPerMicrosecond) return 0;
    const std::uint64_t all = std::max(kLeastInFlight, microseconds * kPathBytesPerMicrosecond);
    const std::uint64_t one = all / channels;
    return one >= kLeastOfOne ? one : 0;
}

std::chrono::microseconds round_trip_time(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
    return std::chrono::microseconds(info.tcpi_rtt);
}

std::uint64_t unacknowledged_bytes(int fd) {
    int bytes = 0;
    if (::ioctl(fd, SIOCOUTQ, &bytes) != 0) return 0;
    return static_cast<std::uint64_t>(std::max(bytes, 0));
}

}  // namespace migrate::transport
