// SPDX-License-Identifier: Apache-2.0
#include "engine/send/reconnection.hpp"

#include <algorithm>
#include <limits>

#include "transport/control_channel.hpp"

namespace migrate::engine {

using std::chrono::milliseconds;
using transport::FrameType;

namespace {

// An attempt that takes longer met a path that is still down: the next one may be luckier.
constexpr milliseconds kConnectLimit{1000};
// The receiver may be about to notice the loss, or to flush its sink.
constexpr milliseconds kAnswerLimit{2000};

Status check_answer(const transport::Resumed& there, const Reconnection::Place& here) {
    const bool behind =
        !here.handed_over && there.complete && std::uint64_t{there.round} + 1 == here.round;
    if (there.round != here.round && !behind) {
        return make_error(ErrorKind::kProtocol, "the receiver resumes in round {}, this side in {}",
                          there.round, here.round);
    }
    if (here.handed_over && !there.loaded) {
        return Error(ErrorKind::kProtocol,
                     "the receiver does not have the guest loaded that was handed over to it");
    }
    if (there.handed_over && !here.handed_over) {
        return Error(ErrorKind::kProtocol,
                     "the receiver was handed a guest over that runs at this side");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<transport::ControlChannel>> Reconnection::connect(const Place& here,
                                                                         milliseconds left) {
    MIGRATE_ASSIGN(
        transport::Socket socket,
        needs_.paths.connect_main_again(std::min(left, kConnectLimit), needs_.core.token()));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(socket)));
    transport::Resume resume{.round = here.round, .sizes = {}, .handed_over = here.handed_over};
    for (const RegionInfo& region : regions_) resume.sizes.push_back(region.size_bytes);
    const transport::HelloBytes hello =
        transport::encode_hello({.role = transport::ConnectionRole::kResume,
                                 .epoch = epoch_,
                                 .session = needs_.agreement.accepted.session});
    std::string opening(reinterpret_cast<const char*>(hello.data()), hello.size());
    opening += transport::encode_frame(FrameType::kResume, transport::encode(resume));
    MIGRATE_TRY(control->send_raw(std::as_bytes(std::span(opening))));
    return control;
}

// An attempt that failed because of the network may succeed later.
Result<std::optional<transport::Resumed>> Reconnection::failed(const Error& error) {
    if (error.kind() != ErrorKind::kLostConnection && error.kind() != ErrorKind::kTimeout) {
        return error;
    }
    reason_ = error.message();
    return std::optional<transport::Resumed>();
}

Result<std::optional<transport::Resumed>> Reconnection::attempt(const Place& here,
                                                                milliseconds left) {
    if (epoch_ == std::numeric_limits<std::uint16_t>::max()) {
        return Error("the main channel was lost too often: no epoch is left");
    }
    ++epoch_;
    auto control = connect(here, left);
    if (!control) return failed(control.error());
    MIGRATE_TRY(needs_.link.resume(*std::move(control)));
    const auto frame =
        needs_.link.expect_within({FrameType::kResumed}, std::min(left, kAnswerLimit));
    if (!frame) return failed(frame.error());
    if (!*frame) {
        needs_.link.drop();
        return failed(Error(ErrorKind::kTimeout, "the receiver did not answer"));
    }
    MIGRATE_ASSIGN(const transport::Resumed resumed, transport::decode_resumed((*frame)->body));
    MIGRATE_TRY(check_answer(resumed, here));
    MIGRATE_TRY(needs_.channels.adopt(resumed.channels, epoch_));
    if (here.handed_over) {
        needs_.link.resumed_in_handover(resumed.handed_over);
    } else {
        needs_.link.resumed_in(resumed.round, resumed.complete);
    }
    return std::optional(resumed);
}

}  // namespace migrate::engine
