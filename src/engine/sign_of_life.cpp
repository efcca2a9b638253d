// SPDX-License-Identifier: Apache-2.0
#include "engine/sign_of_life.hpp"

#include "base/log.hpp"
#include "base/mutex.hpp"
#include "transport/control_frame.hpp"

namespace migrate::engine {
namespace {

// Sends until the stop, or until the peer has no room: the frames that it has yet to read show as
// much.
Status send_signs(transport::Socket& socket, const std::stop_token& stop) {
    const std::string frame = transport::encode_frame(transport::FrameType::kHeartbeat, "");
    while (true) {
        pause_until(stop, std::chrono::steady_clock::now() + kSignOfLifeInterval);
        if (stop.stop_requested()) return {};
        if (!socket.has_room()) return {};
        MIGRATE_TRY(socket.send(std::as_bytes(std::span(frame))));
    }
}

}  // namespace

SignOfLife::SignOfLife(transport::Socket& socket) {
    auto started = Thread::start(
        "sign_of_life", [&socket](const std::stop_token& stop) { return send_signs(socket, stop); },
        [](const Error& error) { log::debug("{}", error.message()); });
    if (started) {
        thread_ = *std::move(started);
    } else {
        log::debug("{}", started.error().message());
    }
}

}  // namespace migrate::engine
