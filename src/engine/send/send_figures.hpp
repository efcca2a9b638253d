// SPDX-License-Identifier: Apache-2.0
// The figures of a sending session while it runs: one lock guards all that report() reads.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/convergence/convergence_types.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/published.hpp"
#include "engine/report/report.hpp"
#include "engine/report/round_history.hpp"
#include "engine/report/session_figures.hpp"
#include "engine/send/channel_limit.hpp"
#include "guest/guest.hpp"

namespace migrate::engine {

class DeviceSender;
class PeerLink;
class PostcopySource;
class SendChannelGroup;

// The CPU time of the guest's vCPUs at a moment.
struct GuestCpuSample {
    std::chrono::steady_clock::time_point at{};
    std::optional<std::chrono::microseconds> cpu{};
};

struct SendFigures {
    SessionFigures session;
    Tunables tunables;  // the present ones; only LiveControl changes them
    // The present connection, and the devices; null before they exist. They live as long as the
    // session, or until they are replaced here.
    const PeerLink* link = nullptr;
    const SendChannelGroup* channels = nullptr;
    const DeviceSender* devices = nullptr;
    const PostcopySource* postcopy = nullptr;  // null before it begins
    // multifd-channels=auto: the reason why no further channel is added; empty before READY.
    std::optional<ChannelLimit> channel_limit;
    std::string channel_reason;
    std::string sink;           // its description by the receiver; empty before ACCEPT
    bool device_state = false;  // device state goes on the data channels
    std::vector<std::string> digests;
    ReuseReport reuse;
    std::uint64_t planned_pages = 0;
    std::uint64_t dirty_pages = 0;  // collected, and in no round's plan yet
    std::uint32_t round = 0;        // the last one that began
    std::uint64_t round_pages = 0;  // of its plan
    // When the pages were collected that the guest had written; the epoch before it is tracked.
    std::chrono::steady_clock::time_point collected{};
    RoundHistory rounds;
    DowntimeReport downtime;
    std::string guest_state;
    unsigned cpu_throttle = 0;
    GuestOwner owner = GuestOwner::kNone;
    bool handed_over = false;  // the guest belongs to the receiver; only GuestCustody changes this
    // When the session was made, when tracking began, and before the guest was paused.
    GuestCpuSample cpu_opened;
    GuestCpuSample cpu_before;
    GuestCpuSample cpu_during;
    guest::Activity before;  // activity when tracking began
    guest::Activity paused;  // activity when the guest was paused
};

using PublishedSend = Published<SendFigures>;

}  // namespace migrate::engine
