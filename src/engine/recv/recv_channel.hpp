// SPDX-License-Identifier: Apache-2.0
// The receiving end of a channel: reads packets, checks them, places their pages and counts them.
// Invariants: nothing is written for a packet before its whole header and run list were checked;
// its pages count as placed only if the checksum of the payload, if there is one, is right.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/cpu_budget.hpp"
#include "base/error.hpp"
#include "base/page_buffer.hpp"
#include "base/units.hpp"
#include "engine/devices/device_receiver.hpp"
#include "engine/report/counters.hpp"
#include "engine/round_gate.hpp"
#include "memory/sink/page_placer.hpp"
#include "transport/compressor.hpp"
#include "transport/payload_checksum.hpp"
#include "transport/socket.hpp"
#include "transport/wire.hpp"

namespace migrate::engine {

// The data that all channels of a session share; outlives them.
struct RecvShared {
    transport::PacketLimits limits;
    memory::PagePlacer& placer;
    bool discards = false;  // the sink keeps nothing
    RoundGate& gate;
    CpuBudget& budget;
    // The gate's last round for which ROUND_END has arrived.
    std::atomic<std::uint32_t> ended_round{0};
    DeviceReceiver* devices = nullptr;  // set if limits.device_state
    // Number of continuations (ROUND_AGAIN) in the session so far. The gate counts each of them as
    // a round: its number is that of the round plus this one. The session's thread writes it
    // between two rounds of the gate, whose mutex makes it visible.
    std::uint32_t continued = 0;
};

// Used by one thread, except for shutdown() and the counters.
class RecvChannel {
  public:
    static Result<std::unique_ptr<RecvChannel>> create(ChannelId id, transport::Socket socket,
                                                       const transport::PacketLimits& limits);

    // Receives round after round, as the gate opens them, until it closes.
    Status run(RecvShared& shared, const std::stop_token& stop);

    // Wakes a blocked run(). Any thread.
    void shutdown() const { socket_.shutdown(); }
    // The gate's last round that run() finished. Called once run() has returned.
    std::uint32_t last_round() const { return read_.last_round; }
    // True if run() ended within a chunk of a device. Chunks are not sent again.
    bool ended_in_device() const { return read_.in_device; }
    // Frees the buffers. Called once run() has returned.
    void release();
    ChannelId id() const { return id_; }
    const ChannelCounters& counters() const { return counters_; }
    std::uint64_t bytes() const { return socket_.bytes_received(); }

  private:
    RecvChannel(ChannelId id, transport::Socket socket) : id_(id), socket_(std::move(socket)) {}
    Status receive_round(RecvShared& shared, std::uint32_t round, const std::stop_token& stop);
    // Returns false at the end of the round.
    Result<bool> receive_packet(RecvShared& shared, std::uint32_t round,
                                const std::stop_token& stop);
    Status await_header(const RecvShared& shared, std::uint32_t round, const std::stop_token& stop);
    Status check_order(const transport::PacketHeader& header, std::uint32_t round) const;
    Status receive_device(RecvShared& shared, const transport::PacketHeader& header,
                          std::span<const std::byte> device_header, const std::stop_token& stop);
    Status receive_pages(RecvShared& shared, const transport::PacketHeader& header);
    Status receive_payload(const RecvShared& shared, const transport::PacketHeader& header);
    Status receive_compressed(const RecvShared& shared, const transport::PacketHeader& header);
    // Receives the payload into `parts`, and compares its checksum if it has one.
    Status receive_checked(const transport::PacketHeader& header, std::span<const iovec> parts);
    std::string where() const;
    void count_packet(const transport::PacketHeader& header);

    ChannelId id_;
    transport::Socket socket_;
    std::unique_ptr<transport::Decompressor> decompressor_;
    transport::PacketHeaderBytes header_bytes_{};
    std::vector<std::byte> run_bytes_;
    std::vector<PageRun> runs_;
    memory::Destinations to_;
    // Content of pages that the placer fills or writes later, or that a sink discards after its
    // checksum was compared. Empty if neither occurs.
    PageBuffer staged_;
    PageBuffer compressed_;
    PageBuffer decompressed_;
    std::optional<transport::PayloadChecksum> checksum_;  // set if the handshake agreed on them
    std::vector<iovec> received_;  // the parts being received, which the socket consumes
    // The progress in the stream of packets.
    struct Progress {
        std::uint32_t packets = 0;  // the next packet's sequence number
        std::uint32_t last_round = 0;
        bool in_device = false;
    };
    Progress read_;
    ChannelCounters counters_;
};

}  // namespace migrate::engine
