// SPDX-License-Identifier: Apache-2.0
// Sends memory of a TCP connection without copying it (MSG_ZEROCOPY; Linux kernel documentation,
// networking/msg_zerocopy). The kernel reads the memory until it reports a completion in the
// socket's error queue. Invariants: every send that did not copy has exactly one completion; once
// the kernel turns out to copy anyway, or has no room for completions or locked pages, this
// connection copies.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/wait.hpp"

namespace migrate::transport {

// The system calls that zero-copy send needs. A test puts a kernel of its own in their place.
class ZeroCopyCalls {
  public:
    ZeroCopyCalls() = default;
    ZeroCopyCalls(const ZeroCopyCalls&) = delete;
    ZeroCopyCalls& operator=(const ZeroCopyCalls&) = delete;
    virtual ~ZeroCopyCalls() = default;

    // Allows MSG_ZEROCOPY on the socket. Returns 0, or -1 with errno.
    virtual int allow() = 0;
    // sendmsg(2).
    virtual ssize_t send(const msghdr& message, int flags) = 0;
    // recvmsg(2) with MSG_ERRQUEUE and MSG_DONTWAIT.
    virtual ssize_t take_completion(msghdr& message) = 0;
    enum class Waited {
        kCompletion,
        kTimeout,
        kEnded,  // the connection has ended, and no completion is left
    };
    // Waits until `until` for a completion.
    virtual Waited wait(WaitClock::time_point until) = 0;
};
// The kernel's calls for this socket, which outlives them.
std::unique_ptr<ZeroCopyCalls> make_zero_copy_calls(int fd);

// The sends of one connection that were meant to avoid a copy.
struct ZeroCopyFigures {
    std::uint64_t sends = 0;          // with MSG_ZEROCOPY
    std::uint64_t completed = 0;      // sends whose memory the kernel does not read any more
    std::uint64_t copied = 0;         // completed sends that the kernel copied all the same
    std::uint64_t refused = 0;        // sends that the kernel refused (ENOBUFS), sent with a copy
    std::uint64_t missed_rounds = 0;  // rounds in which none of the sends avoided the copy

    ZeroCopyFigures& operator+=(const ZeroCopyFigures& other);
};

// Used by the thread that sends, except for figures() and fallback().
class ZeroCopySender {
  public:
    // The result of a system call as Stream reports it: the bytes sent, nothing if there was no
    // room within SO_SNDTIMEO.
    using Moved = Result<std::optional<std::size_t>>;

    explicit ZeroCopySender(std::unique_ptr<ZeroCopyCalls> calls) : calls_(std::move(calls)) {}

    // Allows it on the socket. kRefused if the kernel does not.
    Status allow();
    // False once this connection copies.
    bool avoids_copies() const { return !copies_; }
    // Sends like Stream::send(), and takes the completions that have come. Until pending() is 0,
    // the kernel may read the memory of `parts`.
    Moved send(std::span<const iovec> parts);
    // Notes a send that would have used this if the connection did not copy.
    void note_copy() { meant_ = true; }

    // Number of sends whose memory the kernel may still read.
    std::uint64_t pending() const { return sends_ - completed_; }
    // Takes the completions that have come. Returns their number.
    Result<std::uint64_t> take_completions();
    // Waits until `until` for completions, and takes them. kCompletion if at least one has come.
    Result<ZeroCopyCalls::Waited> await_completions(WaitClock::time_point until);
    // A round ends: counts it as missed if memory was meant to be sent without a copy, and all of
    // it was copied (dirty-sync-missed-zero-copy in QEMU). Called once pending() is 0, or after
    // fall_back().
    void end_round();
    // From now on this connection copies.
    void fall_back(std::string reason);

    // Any thread.
    ZeroCopyFigures figures() const;
    // Why the connection copies; empty as long as it does not. Any thread.
    std::string fallback() const;

  private:
    ssize_t try_send(const msghdr& message);
    Result<bool> take_one();

    std::unique_ptr<ZeroCopyCalls> calls_;
    std::atomic<std::uint64_t> sends_{0};
    std::atomic<std::uint64_t> completed_{0};
    std::atomic<std::uint64_t> copied_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> missed_rounds_{0};
    unsigned refused_in_a_row_ = 0;
    bool copies_ = false;
    bool meant_ = false;    // in this round, memory was to be sent without a copy
    bool avoided_ = false;  // in this round, memory was sent without a copy
    mutable Mutex mutex_;
    std::string fallback_ GUARDED_BY(mutex_);
};

}  // namespace migrate::transport
