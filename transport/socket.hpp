// SPDX-License-Identifier: Apache-2.0
// One connection to the peer, with stall limits; one sending and one receiving thread use it. The
// bytes travel through a Stream, so the code above does not see whether they are encrypted.
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
#include <optional>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/wait.hpp"
#include "transport/endpoint.hpp"
#include "transport/security_info.hpp"
#include "transport/stream.hpp"

namespace migrate::transport {

// The result of waiting for the first byte of a message.
enum class Arrival {
    kComplete,  // all of it arrived
    kIdle,      // no byte arrived within the timeout
    kClosed,    // the peer closed the connection, with nothing pending
};

// The reason why a wait for input ended.
enum class InputWait {
    kInput,    // bytes may have come, or the end of the stream
    kWoken,    // the wake-up was called; it is cleared
    kTimeout,  // the time is over
};

// Times without progress after which a connection fails; each at least 1 ms. A send makes progress
// as long as its bytes are acknowledged, however slowly.
struct StallLimits {
    // For a send: the peer's host does not answer either.
    std::chrono::milliseconds silent{};
    // For a send: the peer's host still acknowledges probes, so the peer is busy. For a receive:
    // nothing comes. At least `silent`.
    std::chrono::milliseconds busy{};

    // The same limit for both.
    static StallLimits both(std::chrono::milliseconds limit) { return {limit, limit}; }
};

// The figures of a connection that the kernel keeps (TCP_INFO).
struct TcpFigures {
    std::uint64_t retransmits = 0;           // packets that were sent again
    std::chrono::microseconds round_trip{};  // smoothed; 0: unknown
    bool mptcp = false;                      // both sides use MPTCP
};

// The end of a connection whose buffer is meant: data leaves it, or arrives there.
enum class BufferSide { kSends, kReceives };
// Checks on a socket of its own whether the kernel allows buffers of this size: 1 … INT_MAX bytes.
// kRefused names the limit to raise.
Status check_socket_buffer(BufferSide side, std::uint64_t bytes);

class Socket {
  public:
    // Takes a connected, blocking socket, and sets TCP_NODELAY and the stall limits.
    static Result<Socket> adopt(UniqueFd fd, const StallLimits& limits);
    // The same for a stream that uses this descriptor.
    static Result<Socket> adopt(UniqueFd fd, const StallLimits& limits,
                                std::unique_ptr<Stream> stream);

    // From now on the bytes travel through `stream`, which uses this socket's descriptor. Call it
    // before data flows.
    void encrypt(std::unique_ptr<Stream> stream, SecurityInfo info);
    // The protection of this connection; see SecurityInfo.
    const SecurityInfo& security() const { return security_; }

    // Changes the limits. Call it before another thread uses the socket, and before
    // expect_back_pressure() and wait_for_room_while().
    Status set_limits(const StallLimits& limits);

    // Declares that this is one of `channels` connections, at least 1, that share the path to the
    // peer: the kernel then buffers no more for it, in each direction, than in_flight_limit()
    // returns. On a kernel without SO_BUF_LOCK (before 5.15), or with lower limits of its own
    // (net.core.wmem_max, rmem_max), the kernel continues to size the buffers itself. Call it
    // before data flows.
    Status share_path(std::uint16_t channels);

    // Uses one buffer of this size in the direction in which the channel carries data: 1 … INT_MAX
    // bytes. kRefused if the kernel's limit is lower. Call it before data flows.
    Status use_buffer(BufferSide side, std::uint64_t bytes);

    // Sends everything, in order; `parts` is consumed. kLostConnection or kTimeout on failure.
    // Neither this nor receive() needs a copy of its own on a plain connection.
    Status send(std::span<iovec> parts);
    Status send(std::span<const std::byte> bytes);
    // Like send(), for parts that another send() follows at once.
    Status send_more(std::span<iovec> parts);
    // Allows send_in_place(). kRefused if the stream has to copy or the kernel does not allow it.
    // Call it before data flows.
    Status use_zero_copy();
    // Like send(), but the kernel need not copy the parts from `first` on: it may read their memory
    // until finish_in_place(), so that the peer gets what is in it by then. The parts before
    // `first` are copied. Copies all of them where zero-copy send is not possible.
    Status send_in_place(std::span<iovec> parts, std::size_t first);
    // False once send_in_place() copies, from then on for good; and without use_zero_copy().
    bool avoids_copies() const { return zero_copy_ != nullptr && zero_copy_->avoids_copies(); }
    // Waits until the kernel reads no memory of send_in_place() any more. If it does not report
    // that although the peer's host has acknowledged everything, the connection copies from then
    // on. Ends a round for the figures.
    Status finish_in_place();
    // The figures of send_in_place(). Any thread.
    ZeroCopyFigures zero_copy_figures() const;
    // Why send_in_place() copies; empty if it does not. Any thread.
    std::string zero_copy_fallback() const;
    // True if the peer has an address of this host, where the kernel copies in any case.
    bool peer_is_local() const;
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
    // Reads and drops the next `bytes` bytes.
    Status discard(std::uint64_t bytes);

    // Sends everything if that is possible without waiting. After an error the peer may have got a
    // part, so nothing else can be sent.
    Status send_now(std::span<const std::byte> bytes);
    // Receives what has come, at most `bytes`; returns the number of bytes, 0 if none has come.
    // kLostConnection once the peer has closed the connection.
    Result<std::size_t> receive_now(std::span<std::byte> bytes);
    // Returns true if a few bytes can be sent without waiting.
    bool has_room() const;
    // Returns true if receive_now() may have bytes, or the end of the stream, to return.
    bool has_input() const;
    // Waits for input until `until`, unless woken.
    Result<InputWait> await_input(WaitClock::time_point until, const Wakeup& wakeup) const;

    // Tells the peer that nothing follows. This side can still receive.
    void finish_sending();
    // Drops what the peer sends, until it closes the connection or `until` has come. A close with
    // unread input would send a reset, which makes the peer drop data that it has not read yet.
    void drain(WaitClock::time_point until);
    // Ends both directions now; blocked calls on other threads return kLostConnection.
    void shutdown() const;

    // The peer's address; known after the connection has ended, too. kLostConnection if it had
    // ended before adopt().
    Result<Endpoint> peer() const;
    // This host's end. kLostConnection if it is not known.
    Result<Endpoint> own() const;
    // "ADDRESS:PORT" of the peer; "?" if that is not known.
    std::string peer_name() const { return peer_ ? peer_->text() : "?"; }

    // Returns the bytes sent that the peer's host has not acknowledged (SIOCOUTQ); 0 if the kernel
    // does not know. Any thread may call it.
    std::uint64_t unacknowledged_bytes() const;
    // TCP's figures of the connection, also once it has ended. Any thread.
    TcpFigures tcp_figures() const;
    // Bytes moved so far, before encryption; readable from any thread.
    std::uint64_t bytes_sent() const { return counters_->sent.load(std::memory_order_relaxed); }
    std::uint64_t bytes_received() const {
        return counters_->received.load(std::memory_order_relaxed);
    }

  private:
    struct Counters {
        std::atomic<std::uint64_t> sent{0};
        std::atomic<std::uint64_t> received{0};
    };

    friend struct SocketDescriptor;

    Socket(UniqueFd fd, std::unique_ptr<Stream> stream)
        : fd_(std::move(fd)), stream_(std::move(stream)), counters_(std::make_unique<Counters>()) {}
    // State of a send that waits for room: the time since which it has made no progress, and the
    // unacknowledged bytes at the last check.
    struct Stillness {
        std::chrono::steady_clock::time_point since;
        std::uint64_t unacknowledged;
    };
    Status keep_waiting(Stillness& still) const;
    template <typename Call>
    Status send_all(std::span<iovec> parts, Call call);
    Result<std::size_t> received(Stream::Moved moved) const;

    UniqueFd fd_;
    std::unique_ptr<Stream> stream_;
    std::optional<Endpoint> peer_;
    SecurityInfo security_;
    ZeroCopySender* zero_copy_ = nullptr;  // part of stream_; null: not used
    StallLimits limits_;
    std::function<bool()> room_goes_on_;
    bool expects_back_pressure_ = false;
    std::unique_ptr<Counters> counters_;
};

// Returns the bytes in flight that each of `channels` parallel connections needs to fill a path of
// this round-trip time; 0 if that is too few or too many for a bound to be useful. Data in flight
// beyond that is copied into memory and copied out again only after it has left the caches.
std::uint64_t in_flight_limit(std::chrono::microseconds round_trip, std::uint16_t channels);

// The descriptor of a socket, for transport's own event loop and for tests. No input or output goes
// through it, because a stream may keep bytes of its own.
struct SocketDescriptor {
    static int of(const Socket& socket) { return socket.fd_.get(); }
};

}  // namespace migrate::transport
