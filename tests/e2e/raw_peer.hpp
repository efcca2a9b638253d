// SPDX-License-Identifier: Apache-2.0
// A peer made of plain sockets, for saying to `migrate` what no honest peer says.
// Invariant: every wait has a deadline; what is legitimate is built with the product's own
// encoders.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "transport/control_frame.hpp"
#include "transport/handshake.hpp"
#include "transport/wire.hpp"

namespace migrate::e2e {

// Bytes as text, as all of this file has them.
template <typename Bytes>
std::string text_of_bytes(const Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class RawSocket {
  public:
    explicit RawSocket(UniqueFd fd) : fd_(std::move(fd)) {}
    static RawSocket connect(std::uint16_t port);

    // False if the peer closed; a peer that does not read fails the test at the deadline.
    bool send(std::string_view bytes) const;
    // The next frame; nothing when the peer closed.
    std::optional<transport::Frame> next_frame();
    // Frames up to one of this type; nothing if the peer closed before it.
    std::optional<transport::Frame> await_frame(transport::FrameType type);
    // True if the peer closed without a further byte.
    bool is_closed_silently() const;
    // Reads exactly so many bytes; fewer if the peer closed before.
    std::string read(std::size_t bytes) const;
    // Does the same and drops them; false if the peer closed before.
    bool skip(std::size_t bytes) const;
    void close() { fd_.reset(); }

  private:
    UniqueFd fd_;
    transport::FrameParser parser_;
};

class RawListener {
  public:
    RawListener();
    std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
    RawSocket accept() const;

  private:
    UniqueFd fd_;
    std::uint16_t port_ = 0;
};

// A packet with its parts open to change; to_bytes() adds the checksum.
struct RawPacket {
    transport::PacketHeader header;
    std::vector<PageRun> runs;
    std::string payload;

    std::string to_bytes() const;
};
// A packet of normal pages with the content 'a' + page number % 26.
RawPacket normal_packet(std::uint32_t sequence, PageRange pages);
RawPacket zero_packet(std::uint32_t sequence, PageRange pages);
std::string sync_packet(std::uint32_t sequence, std::uint32_t round = 1);

std::string main_hello();
std::string data_hello(const transport::SessionId& session, std::uint16_t channel);
std::string frame_of(transport::FrameType type, std::string_view body);
std::string round_start(std::uint32_t round = 1);
std::string round_end(std::uint32_t round = 1);
std::string add_channels(std::uint16_t channels);
std::string completion(const transport::PageCounts& pages, std::vector<std::string> digests = {});
// One region of `pages`, packets of four pages; 0 channels stand for multifd-channels=auto.
transport::Offer make_offer(std::uint16_t channels, std::uint64_t pages);

// A sender that has shaken hands.
class RawSender {
  public:
    RawSender(std::uint16_t port, const transport::Offer& offer);

    // Connects the channels and awaits READY.
    void connect_channels();
    // Connects one more channel with this id, without announcing it.
    void connect_channel(std::uint16_t id);
    // The reason in the FAILURE that the receiver sends; empty if it closed without one.
    std::string failure();
    void close();

    const transport::SessionId& session() const { return session_; }
    RawSocket& main() { return main_; }
    RawSocket& channel(std::size_t id) { return channels_.at(id); }

  private:
    std::uint16_t port_;
    std::uint16_t channel_count_;
    RawSocket main_;
    transport::SessionId session_{};
    std::vector<RawSocket> channels_;
};

}  // namespace migrate::e2e
