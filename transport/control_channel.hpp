// SPDX-License-Identifier: Apache-2.0
// The connected main channel: carries frames in both directions; a waiting receive() can be woken.
// Invariant: any thread may call send(), which sends whole frames; receive() belongs to one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/wait.hpp"
#include "transport/control_frame.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {

class ControlChannel {
  public:
    using Clock = std::chrono::steady_clock;

    static Result<std::unique_ptr<ControlChannel>> create(Socket socket);

    // Waits for a peer without room as Socket does. If a send() failed in mid-frame, every later
    // one fails with kLostConnection.
    Status send(FrameType type, std::string_view body);
    // Does the same for a body in two parts, without copying them together.
    Status send(FrameType type, std::span<const std::byte> first,
                std::span<const std::byte> second);
    // Sends bytes without a frame of its own: the sender's first message, hello and OFFER in one
    // write, so that a receiver that refuses the hello has read the offer too and can close without
    // a reset.
    Status send_raw(std::span<const std::byte> bytes) { return socket_.send(bytes); }
    // Sends the empty frame, unless another frame is being sent or there is no room: the data that
    // the peer has yet to read serves the same purpose.
    Status send_if_idle(FrameType type);
    // Sends this side's last frame, and waits up to `linger` for the peer to close, so that our own
    // close cannot overtake the frame.
    Status send_last(FrameType type, std::string_view body, std::chrono::milliseconds linger);
    // Tells the peer that no frame follows.
    void finish_sending();
    // Returns the next frame; nothing if `timeout` passed or wake() was called; kLostConnection
    // when the peer closed.
    Result<std::optional<Frame>> receive(std::chrono::milliseconds timeout);
    // Makes the present receive(), or else the next one, return early. Any thread may call it.
    void wake() const { wakeup_.wake(); }
    void shutdown() const { socket_.shutdown(); }
    // See Socket.
    Status wait_for_room_while(std::function<bool()> goes_on, std::chrono::milliseconds every) {
        return socket_.wait_for_room_while(std::move(goes_on), every);
    }
    // Returns true if receive() has something to read now: bytes, or the end of the stream.
    bool has_input() const { return socket_.has_input(); }

    // Time of the last byte from the peer, and time of the last frame sent to it.
    Clock::time_point last_heard() const { return last_heard_; }
    Clock::time_point last_sent() const { return last_sent_.load(std::memory_order_relaxed); }
    std::uint64_t bytes_sent() const { return socket_.bytes_sent(); }
    std::uint64_t bytes_received() const { return socket_.bytes_received(); }
    std::string peer_name() const { return socket_.peer_name(); }
    Result<Endpoint> peer() const { return socket_.peer(); }
    const SecurityInfo& security() const { return socket_.security(); }

  private:
    ControlChannel(Socket socket, Wakeup wakeup)
        : socket_(std::move(socket)), wakeup_(std::move(wakeup)) {}
    Status read_available();
    Status send_parts(std::span<iovec> parts) REQUIRES(send_mutex_);

    Socket socket_;
    Wakeup wakeup_;
    Mutex send_mutex_;                              // keeps frames from mixing
    bool cut_off_ GUARDED_BY(send_mutex_) = false;  // a frame was sent in part
    FrameParser parser_;                            // receiving thread only
    Clock::time_point last_heard_ = Clock::now();   // receiving thread only
    std::atomic<Clock::time_point> last_sent_{Clock::now()};
};

}  // namespace migrate::transport
