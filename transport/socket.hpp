// A connected, blocking TCP socket with stall limits; one sending and one receiving thread use it.
// Invariants: every wait ends within StallLimits::busy after the last byte that moved (not for
// send() after expect_back_pressure() or wait_for_room_while()), or immediately after shutdown(),
// which any thread may call; partial transfers are never visible to the caller.
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

// The result of waiting for the first byte of a message.
enum class Arrival {
    kComplete,  // all of it arrived
    kIdle,      // no byte arrived within the timeout
    kClosed,    // the peer closed the connection, with nothing pending
};

// Times without progress after which a connection fails; each at least 1 ms. A send makes progress
// as long as its bytes are acknowledged, however slowly.
struct StallLimits {
    // For a send: the peer's host does not answer either.
    std::chrono::milliseconds silent{};
    // For a send: the peer's host still acknowledges probes, so the peer is busy. For a receive:
    // nothing comes. At least `silent`.
    std::chrono::milliseconds busy{};
};

class Socket {
  public:
    // Takes a connected socket, and sets TCP_NODELAY, TCP_USER_TIMEOUT and the stall limits.
    // `already_received`: bytes that were read from it before, which count as its own.
    static Result<Socket> adopt(UniqueFd fd, const StallLimits& limits,
                                std::uint64_t already_received = 0);
    // Uses that limit, in milliseconds, for both.
    static Result<Socket> adopt(UniqueFd fd, std::uint64_t io_timeout_ms,
                                std::uint64_t already_received = 0) {
        const std::chrono::milliseconds limit(io_timeout_ms);
        return adopt(std::move(fd), StallLimits{limit, limit}, already_received);
    }

    // Declares that this is one of `channels` connections, at least 1, that share the path to the
    // peer: the kernel then buffers no more for it, in each direction, than in_flight_limit()
    // returns. On a kernel without SO_BUF_LOCK (before 5.15), or with lower limits of its own
    // (net.core.wmem_max, rmem_max), the kernel continues to size the buffers itself. Call it
    // before data flows.
    Status share_path(std::uint16_t channels);

    // Sends everything, in order; `parts` is consumed. kLostConnection or kTimeout on failure.
    Status send(std::span<iovec> parts);
    Status send(std::span<const std::byte> bytes);
    // From now on send() waits for a peer without room for as long as the peer's host acknowledges
    // probes, which shows that the path is intact. The caller must detect by other means that the
    // peer itself has died, and then call shutdown(). Must not run concurrently with a send().
    Status expect_back_pressure();
    // From now on send() calls `goes_on` each time it has waited for room for `every`, and
    // continues to wait while that returns true. `goes_on` is called on sending threads. Call this
    // before a send().
    Status wait_for_room_while(std::function<bool()> goes_on, std::chrono::milliseconds every);
    // Fills everything. kLostConnection if the peer closes before that, kTimeout if it stalls.
    Status receive(std::span<std::byte> bytes);
    Status receive(std::span<iovec> parts);
    // Like receive(), but reports separately that nothing has begun to arrive.
    Result<Arrival> receive_first(std::span<std::byte> bytes);
    // Reads and drops the next `bytes` bytes without copying them.
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
    // State of a send that waits for room: the time since which it has made no progress, and the
    // unacknowledged bytes at the last check.
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

// Returns "ADDRESS:PORT" of a socket's own or remote end, "?" if it has none.
std::string endpoint_name(int fd, bool remote);
// Returns the bytes in flight that each of `channels` parallel connections needs to fill a path of
// this round-trip time; 0 if that is too few or too many for a bound to be useful. Data in flight
// beyond that is copied into memory and copied out again only after it has left the caches.
std::uint64_t in_flight_limit(std::chrono::microseconds round_trip, std::uint16_t channels);
// Returns the connection's smoothed round-trip time according to the kernel (TCP_INFO); 0 if not
// known.
std::chrono::microseconds round_trip_time(int fd);
// Returns the bytes sent that the peer's host has not acknowledged (SIOCOUTQ); 0 if the kernel does
// not know.
std::uint64_t unacknowledged_bytes(int fd);

}  // namespace migrate::transport
