// SPDX-License-Identifier: Apache-2.0
// The figures of a receiving session while it runs: one lock guards all that report() reads.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/report/published.hpp"
#include "engine/report/report.hpp"
#include "engine/report/session_figures.hpp"
#include "guest/guest.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class DeviceReceiver;
class PeerLink;
class PostcopySink;
class RecvChannelGroup;

// The fate of a guest that arrives. It leaves kUndecided once: to kResuming by the thread that runs
// the guest, which then stores the result, or to kAbandoned by the thread that tells the sender of
// a failure. kUnknown: it is not known whether the guest runs.
enum class GuestFate { kUndecided, kResuming, kRuns, kAbandoned, kUnknown };

struct RecvFigures {
    SessionFigures session;
    // The present connection, and the devices; null before they exist. They live as long as the
    // session, or until they are replaced here.
    const PeerLink* link = nullptr;
    const RecvChannelGroup* channels = nullptr;
    const DeviceReceiver* devices = nullptr;
    const PostcopySink* postcopy = nullptr;  // null before it begins
    transport::Offer offer;                  // of the sender that was accepted
    bool device_state = false;               // device state comes on the data channels
    std::vector<std::string> digests;
    ReuseReport reuse;
    // The sender announced these: the pages of all rounds so far, those of them that were left to a
    // later round, the last round and its pages.
    std::uint64_t planned_pages = 0;
    std::uint64_t postponed_pages = 0;
    std::uint32_t round = 0;
    std::uint64_t round_pages = 0;
    // Pages per second that become dirty, by its word, and when the last round began; the epoch
    // before the first one.
    std::uint64_t dirty_rate = 0;
    std::chrono::steady_clock::time_point round_began{};
    DowntimeReport downtime;
    GuestFate fate = GuestFate::kUndecided;
    const guest::Guest* guest = nullptr;  // that arrived; null: none yet, or it was dropped
};

using PublishedRecv = Published<RecvFigures>;

}  // namespace migrate::engine
