// A connected TCP socket used by one sending and one receiving thread, blocking, with stall limits.
// Invariants: every wait ends within StallLimits::busy of the last byte that moved (a send's not
// after expect_back_pressure() or wait_for_room_while()), or at once after shutdown(), which any
// thread may call; partial transfers never surface.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::transport {

// What became of waiting for the first byte of something.
enum class Arrival {
    kComplete,  // all of it arrived
    kIdle,      // not one byte within the timeout
    kClosed,    // the peer closed the connection, with nothing pending
};

// How long a connection may stand still before it is given up; each at least 1 ms. A send whose
// bytes are acknowledged, however slowly, moves.
struct StallLimits {
    // A send: the peer's host does not answer either.
    std::chrono::milliseconds silent{};
    // A send: the peer's host acknowledges what it is asked, so the peer is busy. A receive:
    // nothing comes. At least `silent`.
    std::chrono::milliseconds busy{};
};

class Socket {
  public:
    // Takes a connected socket: TCP_NODELAY, TCP_USER_TIMEOUT and the stall limits are set here.
    // `already_received`: bytes that were read from it before, to be counted as its own.
    static Result<Socket> adopt(UniqueFd fd, const StallLimits& limits,
                                std::uint64_t already_received = 0);
    // With that limit for both.
    static Result<Socket> adopt(UniqueFd fd, std::uint64_t io_timeout_ms,
                                std::uint64_t already_received = 0) {
        const std::chrono::milliseconds limit(io_timeout_ms);
        return adopt(std::move(fd), StallLimits{limit, limit}, already_received);
    }

    // Says that this is one of `channels` connections, at least 1, that share the way to the peer:
    // the kernel then holds no more for it, on its way out and in, than in_flight_limit() asks for.
    // On a kernel without SO_BUF_LOCK (before 5.15), or whose own limits (net.core.wmem_max,
    // rmem_max) are lower than that, it goes on sizing its buffers as it likes. Before data flows.
    Status share_path(std::uint16_t channels);

    // Sends all of it, in order; `parts` is consumed. kLostConnection or kTimeout on failure.
    Status send(std::span<iovec> parts);
    Status send(std::span<const std::byte> bytes);
    // From here on send() waits for a peer without room for as long as the peer's host acknowledges
    // what it is asked, which says that the way there is whole. Whether the peer itself still lives
    // is for the caller to know from elsewhere, and to call shutdown(). Not beside a send().
    Status expect_back_pressure();
    // From here on send() asks this each time it has waited for room for `every`, and waits on
    // while it answers true. `goes_on` is called on sending threads. Before a send().
    Status wait_for_room_while(std::function<bool()> goes_on, std::chrono::milliseconds every);
    // Fills all of it. kLostConnection if the peer closes before that, kTimeout if it stalls.
    Status receive(std::span<std::byte> bytes);
    Status receive(std::span<iovec> parts);
    // Like receive(), but tells apart that nothing has begun to arrive.
    Result<Arrival> receive_first(std::span<std::byte> bytes);
    // Reads and drops the next bytes without copying them.
    Status discard(std::uint64_t bytes);

    // Ends both directions now; blocked calls on other threads return kLostConnection.
    void shutdown() const;
    int fd() const { return fd_.get(); }
    std::string peer_name() const;

    // Bytes moved so far; readable from any thread.
    std::uint64_t bytes_sent() const { return counters_->sent.load(std::memory_order_relaxed); }
    std::uint64_t bytes_received() const {
        return counters_->received.load(std::memory_order_relaxed);
    }

  private:
    struct Counters {
        std::atomic<std::uint64_t> sent{0};
        std::atomic<std::uint64_t> received{0};
    };

    Socket(UniqueFd fd, const StallLimits& limits)
        : fd_(std::move(fd)), limits_(limits), counters_(std::make_unique<Counters>()) {}
    // Since when a send that waits for room has not moved, and what the peer had not acknowledged
    // when it last looked.
    struct Stillness {
        std::chrono::steady_clock::time_point since;
        int unacknowledged;
    };
    Status keep_waiting(Stillness& still) const;
    static Error stalled(std::string_view what, std::chrono::milliseconds time);
    Status receive_loop(iovec* part, std::size_t count, int flags);

    UniqueFd fd_;
    StallLimits limits_;
    std::function<bool()> room_goes_on_;
    bool expects_back_pressure_ = false;
    std::unique_ptr<Counters> counters_;
};

// "ADDRESS:PORT" of a socket's own or remote end, "?" where it has none.
std::string endpoint_name(int fd, bool remote);
// How many bytes one of `channels` connections side by side needs under way, so that a path of this
// round-trip time is filled; 0: too few or too many for a bound to be worth it. What is under way
// beyond that was copied into memory only to be copied out of it again when it has left the caches.
std::uint64_t in_flight_limit(std::chrono::microseconds round_trip, std::uint16_t channels);
// The connection's smoothed round-trip time as the kernel knows it (TCP_INFO); 0 if it does not.
std::chrono::microseconds round_trip_time(int fd);
// Bytes that were sent and that the peer's host has not acknowledged (SIOCOUTQ); 0 if the kernel
// does not know.
std::uint64_t unacknowledged_bytes(int fd);

}  // namespace migrate::transport
