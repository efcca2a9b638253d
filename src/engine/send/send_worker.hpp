// A channel's sending thread, the counterpart of RecvChannel: takes spans of memory, sends packets.
// The .cpp file follows a page's path on the sending side: a span is claimed from the round's plan,
// scanned into runs, packed, and sent. Invariant: in a round each planned page is sent by exactly
// one worker.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/error.hpp"
#include "engine/devices/device_sender.hpp"
#include "engine/send/legacy_feed.hpp"
#include "engine/send/round_gate.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/send_channel.hpp"
#include "engine/send/sent_pages.hpp"
#include "engine/send/span_scanner.hpp"

namespace migrate::engine {

// The data that all sending threads of a channel group share; outlives them. The session's thread
// writes `plan` and `devices` between two rounds; the gate's mutex makes them visible to the round
// it opens.
struct SendShared {
    std::uint64_t packet_bytes = 0;
    RoundGate& gate;
    SentPages* sent = nullptr;           // told about each run; null: an image
    LegacyFeed* legacy = nullptr;        // only with zero-page-detection=legacy
    std::optional<RoundPlan> plan = {};  // of the current round
    DeviceSender* devices = nullptr;     // set if the channels send device state in this round
};

class SendWorker {
  public:
    // `scanner` is this thread's own; null with zero-page-detection=legacy.
    SendWorker(SendChannel& channel, SpanScanner* scanner, SendShared& shared)
        : channel_(channel), scanner_(scanner), shared_(shared) {}

    // Sends round after round, as the gate opens them, until it closes.
    Status run(const std::stop_token& stop);

  private:
    Status send_round(std::uint32_t round, const std::stop_token& stop);
    Status send_filled_packets(std::uint32_t round, const std::stop_token& stop);

    SendChannel& channel_;
    SpanScanner* scanner_;
    SendShared& shared_;
};

// zero-page-detection=legacy: the session's own thread scans the whole round and hands packets to
// the channels' threads.
Status feed_legacy_round(SendShared& shared, SpanScanner& scanner, const std::stop_token& stop);

}  // namespace migrate::engine
