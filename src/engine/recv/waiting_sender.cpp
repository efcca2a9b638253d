// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/waiting_sender.hpp"

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/outcome.hpp"
#include "engine/peer_link.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

using std::chrono::milliseconds;
using transport::FrameType;

namespace {

// The time for the sender to read the last frame; meanwhile no other sender is served.
constexpr milliseconds kLinger{200};
// No sender sends more heartbeats between two looks.
constexpr int kMostFrames = 64;

}  // namespace

Status WaitingSender::look() {
    if (Clock::now() - looked_ < kInterval) return {};
    looked_ = Clock::now();
    MIGRATE_TRY(main_->send_if_idle(FrameType::kHeartbeat));
    for (int i = 0; i < kMostFrames; ++i) {
        MIGRATE_ASSIGN(const std::optional<transport::Frame> frame,
                       main_->receive(milliseconds(0)));
        if (!frame) return {};
        if (frame->type == FrameType::kHeartbeat) continue;
        if (frame->type != FrameType::kFailure) {
            return make_error(ErrorKind::kProtocol,
                              "expected FAILURE or nothing before READY, got {}",
                              name_of(frame->type));
        }
        return error_of_peer(transport::decode_failure(frame->body));
    }
    return {};
}

void WaitingSender::tell(const Error& reason) {
    const Status told = catching("main channel", [&] {
        const Outcome outcome = outcome_of(reason);
        const std::string body =
            transport::encode(transport::Failure{outcome == Outcome::kCancelled, reason.message(),
                                                 false, std::string(name_of(outcome))});
        return main_->send_last(FrameType::kFailure, body, kLinger);
    });
    if (!told) log::debug("the sender could not be told: {}", told.error().message());
}

bool concerns_sender_only(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::kLostConnection:
        case ErrorKind::kTimeout:
        case ErrorKind::kPeer:
        case ErrorKind::kProtocol:
        case ErrorKind::kCancelled:
        case ErrorKind::kRefused:
            return true;
        default:
            return false;
    }
}

}  // namespace migrate::engine
