// A channel's sending end: packets in, bytes on the wire, counted.
#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/counters.hpp"
#include "transport/compressor.hpp"
#include "transport/pacer.hpp"
#include "transport/packet_builder.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

// Used by one thread, but for the counters.
class SendChannel {
  public:
    // `compressor` may be null. `pacer` is shared by all channels and outlives them.
    SendChannel(ChannelId id, transport::Socket socket,
                std::unique_ptr<transport::Compressor> compressor, transport::Pacer& pacer);

    // Sends the packet and clears it. kCancelled if stop was requested while it waited for
    // bandwidth.
    Status send(transport::PacketBuilder& packet, std::uint32_t round, const std::stop_token& stop);
    // Says that this round is over on this channel.
    Status send_sync(std::uint32_t round);
    Status send_hello(const transport::SessionId& session);

    // Wakes a blocked send(). Any thread.
    void shutdown() const { socket_.shutdown(); }
    ChannelId id() const { return id_; }
    const ChannelCounters& counters() const { return counters_; }
    std::uint64_t bytes() const { return socket_.bytes_sent(); }

  private:
    Result<transport::Compression> prepare_payload(const transport::PacketBuilder& packet);
    std::string where(const transport::PacketBuilder& packet) const;

    ChannelId id_;
    transport::Socket socket_;
    std::unique_ptr<transport::Compressor> compressor_;
    transport::Pacer& pacer_;
    std::uint32_t sequence_ = 0;
    std::vector<iovec> parts_;  // [header, runs, payload …] of the packet under way
    ChannelCounters counters_;
};

}  // namespace migrate::engine
