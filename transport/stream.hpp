// SPDX-License-Identifier: Apache-2.0
// Moves the bytes of one TCP connection, as they are or encrypted. Socket is the only user; it adds
// the stall limits, the counters and the waits. Invariants: send() is called by one thread at a
// time, and so is receive(), but the two may run at the same time; no call raises a signal, not
// even for memory that cannot be accessed.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "transport/zero_copy.hpp"

namespace migrate::transport {

class Stream {
  public:
    // kWait: waits up to SO_SNDTIMEO for room, or up to SO_RCVTIMEO for each byte that is missing.
    // kNow: moves what is possible without waiting. kMore: like kWait, for a send that another one
    // follows at once, so that the end of these bytes may wait for it.
    enum class Mode { kWait, kNow, kMore };
    // The bytes that were moved, which may be fewer than asked for; nothing if there was no room or
    // no byte in that time. Received 0: the peer ended its direction of the stream. Errors:
    // kLostConnection, kFault if memory in `parts` cannot be written.
    using Moved = Result<std::optional<std::size_t>>;

    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    virtual ~Stream() = default;

    // Both accept at most IOV_MAX parts, of together at least one byte. A stream may have taken
    // bytes that it does not count yet: after a send() that moved fewer bytes than it was given,
    // the next one continues with the rest of them.
    virtual Moved send(std::span<const iovec> parts, Mode mode) = 0;
    virtual Moved receive(std::span<const iovec> parts, Mode mode) = 0;
    // Receives up to `bytes` bytes, at least 1, in mode kWait, and drops them.
    virtual Moved discard(std::uint64_t bytes) = 0;
    // Returns true if receive() has bytes that were read from the connection before, so that
    // poll(2) does not report them.
    virtual bool has_buffered_input() const = 0;
    // Tells the peer that nothing follows. Does not wait.
    virtual void finish_sending() = 0;
    // Sends memory as it is without copying it; null if this stream changes or copies what it
    // sends. It lives as long as the stream.
    virtual ZeroCopySender* zero_copy() { return nullptr; }
};

// Returns a stream that leaves the bytes as they are. `fd` is a connected, blocking socket that
// outlives it. The kernel moves the bytes directly between `parts` and its own buffers, with one
// system call for each call.
std::unique_ptr<Stream> make_plain_stream(int fd);
// The same with these calls for zero-copy send.
std::unique_ptr<Stream> make_plain_stream(int fd, std::unique_ptr<ZeroCopyCalls> calls);

}  // namespace migrate::transport
