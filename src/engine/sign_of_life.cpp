#include "engine/sign_of_life.hpp"

#include <sys/socket.h>

#include <condition_variable>
#include <mutex>

#include "base/log.hpp"
#include "transport/control_frame.hpp"

namespace migrate::engine {
namespace {

// Sends until the stop, or until the peer has no room: the frames that it has yet to read show as
// much.
Status send_signs(int socket, const std::stop_token& stop) {
    const std::string frame = transport::encode_frame(transport::FrameType::kHeartbeat, "");
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    while (true) {
        never.wait_for(lock, stop, kSignOfLifeInterval, [] { return false; });
        if (stop.stop_requested()) return {};
        const ssize_t sent =
            ::send(socket, frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == static_cast<ssize_t>(frame.size())) continue;
        // A part of a frame would be taken for the beginning of the next.
        if (sent > 0) ::shutdown(socket, SHUT_WR);
        return {};
    }
}

}  // namespace

SignOfLife::SignOfLife(int socket) {
    auto started = Thread::start(
        "sign_of_life", [socket](const std::stop_token& stop) { return send_signs(socket, stop); },
        [](const Error& error) { log::debug("{}", error.message()); });
    if (started) {
        thread_ = *std::move(started);
    } else {
        log::debug("{}", started.error().message());
    }
}

}  // namespace migrate::engine
