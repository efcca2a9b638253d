// The main channel once it is connected: frames both ways, and a thread that can be woken while it
// waits. Invariant: send() may be called from any thread and sends whole frames; receive() belongs
// to one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "transport/control_frame.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {

class ControlChannel {
  public:
    using Clock = std::chrono::steady_clock;

    static Result<std::unique_ptr<ControlChannel>> create(Socket socket);

    // Waits for a peer without room as Socket does. After one that failed in mid-frame nothing more
    // can be sent: kLostConnection.
    Status send(FrameType type, std::string_view body);
    // The same of a body in two parts, which are not copied together.
    Status send(FrameType type, std::span<const std::byte> first,
                std::span<const std::byte> second);
    // Sends bytes as they are: the sender's first words, hello and OFFER in one write, so that a
    // receiver that refuses the hello has read the offer too and can close without a reset.
    Status send_raw(std::span<const std::byte> bytes) { return socket_.send(bytes); }
    // Sends the empty frame, unless another is being sent or there is no room: what the peer has
    // yet to read says as much.
    Status send_if_idle(FrameType type);
    // Sends a frame after which this side sends nothing more, and waits up to `linger` for the peer
    // to close, so that our own close cannot overtake the frame.
    Status send_last(FrameType type, std::string_view body, std::chrono::milliseconds linger);
    // The next frame; nothing if `timeout` passed or wake() was called; kLostConnection when the
    // peer closed.
    Result<std::optional<Frame>> receive(std::chrono::milliseconds timeout);
    // Makes the receive() under way, or else the next one, return early. Any thread.
    void wake() const;
    void shutdown() const { socket_.shutdown(); }
    // See Socket.
    Status wait_for_room_while(std::function<bool()> goes_on, std::chrono::milliseconds every) {
        return socket_.wait_for_room_while(std::move(goes_on), every);
    }
    // Whether receive() would have something to read now: bytes, or the end.
    bool has_input() const;

    // When the last byte came from the peer, and when the last frame was sent to it.
    Clock::time_point last_heard() const { return last_heard_; }
    Clock::time_point last_sent() const { return last_sent_.load(std::memory_order_relaxed); }
    std::uint64_t bytes_sent() const { return socket_.bytes_sent(); }
    std::uint64_t bytes_received() const { return socket_.bytes_received() + received_; }
    std::string peer_name() const { return socket_.peer_name(); }
    int fd() const { return socket_.fd(); }

  private:
    ControlChannel(Socket socket, UniqueFd wake_event)
        : socket_(std::move(socket)), wake_event_(std::move(wake_event)) {}
    Status read_available();
    Status send_parts(std::span<iovec> parts);

    Socket socket_;
    UniqueFd wake_event_;
    std::mutex send_mutex_;                        // frames do not mix
    bool cut_off_ = false;                         // guarded by send_mutex_: in mid-frame
    FrameParser parser_;                           // receiving thread only
    Clock::time_point last_heard_ = Clock::now();  // receiving thread only
    std::atomic<Clock::time_point> last_sent_{Clock::now()};
    std::atomic<std::uint64_t> received_{0};
};

}  // namespace migrate::transport
