// The sending end of a channel: takes packets, sends their bytes and counts them.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/report/counters.hpp"
#include "engine/send/sent_pages.hpp"
#include "transport/compressor.hpp"
#include "transport/pacer.hpp"
#include "transport/packet_builder.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

// Used by one thread, except for shutdown() and the counters.
class SendChannel {
  public:
    // `compressor` may be null. `pacer` is shared by all channels. If `copies` is set, pages are
    // sent from a copy, which it gets. Both outlive the channel.
    SendChannel(ChannelId id, transport::Socket socket,
                std::unique_ptr<transport::Compressor> compressor, transport::Pacer& pacer,
                SentPages* copies = nullptr);

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
    Status send_hello(const transport::SessionId& session);

    // Wakes a blocked send(). Any thread.
    void shutdown() const { socket_.shutdown(); }
    ChannelId id() const { return id_; }
    const ChannelCounters& counters() const { return counters_; }
    std::uint64_t bytes() const { return socket_.bytes_sent(); }
    // Bytes sent and not yet acknowledged by the peer's host. Any thread.
    std::uint64_t bytes_under_way() const { return socket_.unacknowledged_bytes(); }

  private:
    Result<transport::Compression> prepare_payload(const transport::PacketBuilder& packet);
    Result<std::span<const std::byte>> copy_payload(const transport::PacketBuilder& packet);
    std::string where(const transport::PacketBuilder& packet) const;
    void count_packet();

    ChannelId id_;
    transport::Socket socket_;
    std::unique_ptr<transport::Compressor> compressor_;
    transport::Pacer& pacer_;
    std::uint32_t sequence_ = 0;
    std::vector<iovec> parts_;  // [header, runs, payload …] of the packet being sent
    ChannelCounters counters_;
    SentPages* copies_;
    std::vector<std::byte> copy_;  // copy of the payload being sent, if copies_
};

}  // namespace migrate::engine
