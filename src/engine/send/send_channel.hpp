// SPDX-License-Identifier: Apache-2.0
// The sending end of a channel, the counterpart of RecvChannel: claims spans of memory, sends their
// pages and counts them. The .cpp file follows a page's path on the sending side: a span is claimed
// from the round's plan, scanned into runs, packed, and sent. Invariant: in a round each planned
// page is sent by exactly one channel.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/cpu_budget.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/report/counters.hpp"
#include "engine/round_gate.hpp"
#include "engine/send/legacy_feed.hpp"
#include "engine/send/packet_payload.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/sent_pages.hpp"
#include "engine/send/span_scanner.hpp"
#include "engine/send/tail_probe.hpp"
#include "transport/compressor.hpp"
#include "transport/pacer.hpp"
#include "transport/packet_builder.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

class DeviceSender;

// The data that all channels of a group share; outlives them. The session's thread writes `plan`
// and `devices` between two rounds; the gate's mutex makes them visible to the round it opens.
struct SendShared {
    std::uint64_t packet_bytes = 0;
    RoundGate& gate;
    SentPages* sent = nullptr;  // notes each run that is sent; null: an image
    CpuBudget& budget;
    TailProbe* tail = nullptr;           // counts the pages of a guest; null: an image
    LegacyFeed* legacy = nullptr;        // only with zero-page-detection=legacy
    std::optional<RoundPlan> plan = {};  // of the current round
    DeviceSender* devices = nullptr;     // set if the channels send device state in this round
    // Number of continuations (ROUND_AGAIN) in the session so far. The gate counts each of them as
    // a round: its number is that of the round plus this one.
    std::uint32_t continued = 0;
    // Planned pages of the session so far that were left to a later round. Relaxed: the gate orders
    // what a round adds before its end.
    std::atomic<std::uint64_t> postponed{0};
};

// The network path of a channel.
struct ChannelPath {
    std::uint16_t index = 0;
    transport::Pacer* pacer = nullptr;  // shared by its channels; null: no limit
};

// Used by one thread, except for shutdown() and the counters.
class SendChannel {
  public:
    // `compressor` may be null. `pacer` is shared by all channels. If `copies` is set, pages are
    // sent from a copy, and note_copy() gets the copy. Both outlive the channel, and so does the
    // path's pacer.
    SendChannel(ChannelId id, transport::Socket socket,
                std::unique_ptr<transport::Compressor> compressor, transport::Pacer& pacer,
                SentPages* copies = nullptr, const ChannelPath& path = {});

    // From now on pages of the regions for which `regions` is true are sent without copying them.
    // kRefused if the connection cannot. Call it before the first packet.
    Status send_in_place(std::vector<bool> regions);
    // From now on payloads have checksums; see PacketPayload::add_checksums(). Call it before the
    // first packet.
    void add_checksums(std::vector<bool> changing, bool all);
    Status send_hello(const transport::SessionId& session, std::uint16_t epoch = 0);
    // Sends round after round, as the gate opens them, until it closes. `scanner` is this thread's
    // own; null with zero-page-detection=legacy. The channel prefers pages of `group`; see
    // RoundPlan.
    Status run(SendShared& shared, SpanScanner* scanner, unsigned group,
               const std::stop_token& stop);
    // Counts pages of this channel once they are found and before they are sent: runs of zeros may
    // wait long in a packet that has room for more.
    void count(const transport::PageCounts& pages) { counters_.pages.add(pages); }
    // Sends the packet and clears it. kCancelled if stop was requested while it waited for
    // bandwidth.
    Status send(transport::PacketBuilder& packet, std::uint32_t round, const std::stop_token& stop);
    // Sends a chunk of a device's state, with its encoded header.
    Status send_device(std::span<const std::byte> header, std::span<const std::byte> chunk,
                       std::uint32_t round, const std::stop_token& stop);
    // From now on the receiver may stop reading for any time; see Socket. Called between rounds.
    Status expect_back_pressure() { return socket_.expect_back_pressure(); }
    // Tells the receiver that this round is over on this channel.
    Status send_sync(std::uint32_t round);

    // Wakes a blocked send. Any thread.
    void shutdown() const { socket_.shutdown(); }
    // The gate's last round that run() finished. Called once run() has returned.
    std::uint32_t last_round() const { return last_round_; }
    // Called for a lost channel once run() has returned: only the pages that arrived count as sent.
    void count_arrived(const transport::PageCounts& pages) { counters_.pages.set(pages); }
    ChannelId id() const { return id_; }
    std::uint16_t path() const { return path_.index; }
    transport::TcpFigures tcp_figures() const { return socket_.tcp_figures(); }
    const ChannelCounters& counters() const { return counters_; }
    std::uint64_t bytes() const { return socket_.bytes_sent(); }
    // Bytes sent and not yet acknowledged by the peer's host. Any thread.
    std::uint64_t bytes_under_way() const { return socket_.unacknowledged_bytes(); }
    // The figures of zero-copy send, and why the channel copies after all; empty if it does not.
    // Any thread.
    transport::ZeroCopyFigures zero_copy() const { return socket_.zero_copy_figures(); }
    std::string zero_copy_fallback() const { return socket_.zero_copy_fallback(); }

  private:
    Status send_round(SendShared& shared, SpanScanner& scanner, std::uint32_t round, unsigned group,
                      const std::stop_token& stop);
    Status send_filled_packets(SendShared& shared, std::uint32_t round,
                               const std::stop_token& stop);
    Status finish_in_place();
    bool pace(std::uint64_t bytes, const std::stop_token& stop);
    std::string where(const transport::PacketBuilder& packet) const;
    void count_packet(bool has_payload, bool has_checksum);

    ChannelId id_;
    transport::Socket socket_;
    PacketPayload payload_;
    // Makes the checksums of device chunks; empty if they have none.
    std::optional<transport::PayloadChecksum> device_checksum_;
    transport::Pacer& pacer_;
    const ChannelPath path_;
    std::uint32_t sequence_ = 0;
    std::uint32_t last_round_ = 0;
    ChannelCounters counters_;
};

// zero-page-detection=legacy: the session's own thread scans the whole round and hands packets to
// the channels' threads.
Status feed_legacy_round(SendShared& shared, SpanScanner& scanner, const std::stop_token& stop);

}  // namespace migrate::engine
