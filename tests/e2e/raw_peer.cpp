// SPDX-License-Identifier: Apache-2.0
#include "e2e/raw_peer.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "catch.hpp"
#include "e2e/process.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/negotiated.hpp"

namespace migrate::e2e {
namespace {

using transport::FrameType;

void await(int fd, short events, const char* what) {
    pollfd polled{fd, events, 0};
    const auto left = std::chrono::milliseconds(kDeadline).count();
    while (true) {
        const int ready = ::poll(&polled, 1, static_cast<int>(left));
        if (ready > 0) return;
        if (ready < 0 && errno == EINTR) continue;
        FAIL("the peer did not " << what << " within the deadline");
    }
}

}  // namespace

RawSocket RawSocket::connect(std::uint16_t port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(port);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        FAIL("cannot connect to port " << port << ": " << errno);
    }
    return RawSocket(std::move(fd));
}

bool RawSocket::send(std::string_view bytes) const {
    while (!bytes.empty()) {
        const ssize_t sent =
            ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            await(fd_.get(), POLLOUT, "read");
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

std::optional<transport::Frame> RawSocket::next_frame() {
    std::array<std::byte, 4096> buffer{};
    while (true) {
        Result<std::optional<transport::Frame>> frame = parser_.next();
        if (!frame) FAIL("no frame: " << frame.error().message());
        if (*frame) return *std::move(frame);
        await(fd_.get(), POLLIN, "answer");
        const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
        if (count <= 0) return std::nullopt;
        parser_.feed(std::span(buffer).first(static_cast<std::size_t>(count)));
    }
}

std::optional<transport::Frame> RawSocket::await_frame(FrameType type) {
    std::optional<transport::Frame> frame = next_frame();
    while (frame && frame->type != type) frame = next_frame();
    return frame;
}

bool RawSocket::is_closed_silently() const {
    await(fd_.get(), POLLIN, "close");
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, 0) <= 0;
}

std::string RawSocket::read(std::size_t bytes) const {
    std::string all;
    std::array<char, 4096> buffer{};
    while (all.size() < bytes) {
        await(fd_.get(), POLLIN, "send");
        const ssize_t count =
            ::recv(fd_.get(), buffer.data(), std::min(bytes - all.size(), buffer.size()), 0);
        if (count <= 0) break;
        all.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return all;
}

bool RawSocket::skip(std::size_t bytes) const {
    std::array<char, 4096> buffer{};
    while (bytes > 0) {
        await(fd_.get(), POLLIN, "send");
        const ssize_t count = ::recv(fd_.get(), buffer.data(), std::min(bytes, buffer.size()), 0);
        if (count <= 0) return false;
        bytes -= static_cast<std::size_t>(count);
    }
    return true;
}

RawListener::RawListener() : fd_(loopback_socket(0, true)), port_(port_of(fd_.get())) {}

RawSocket RawListener::accept() const {
    await(fd_.get(), POLLIN, "connect");
    UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) FAIL("cannot accept: " << errno);
    return RawSocket(std::move(fd));
}

std::string RawPacket::to_bytes() const {
    transport::RunListEncoder encoder;
    encoder.restart(header.first_page);
    for (const PageRun& run : runs) encoder.append(run);
    const std::span<const std::byte> list = encoder.finish();
    return text_of_bytes(transport::encode_packet_header(header, list)) + text_of_bytes(list) +
           payload;
}

RawPacket normal_packet(std::uint32_t sequence, PageRange pages) {
    RawPacket packet;
    packet.header.round = 1;
    packet.header.sequence = sequence;
    packet.header.first_page = pages.first;
    packet.header.normal_pages = static_cast<std::uint32_t>(pages.count);
    packet.header.payload_bytes = static_cast<std::uint32_t>(pages.size_bytes());
    packet.runs = {{pages, PageKind::kNormal}};
    for (std::uint64_t page = pages.first; page < pages.end(); ++page) {
        packet.payload.append(kPageSize, static_cast<char>('a' + page % 26));
    }
    return packet;
}

RawPacket zero_packet(std::uint32_t sequence, PageRange pages) {
    RawPacket packet;
    packet.header.round = 1;
    packet.header.sequence = sequence;
    packet.header.first_page = pages.first;
    packet.runs = {{pages, PageKind::kZero}};
    return packet;
}

std::string sync_packet(std::uint32_t sequence, std::uint32_t round) {
    RawPacket packet;
    packet.header.kind = transport::PacketKind::kSync;
    packet.header.round = round;
    packet.header.sequence = sequence;
    return packet.to_bytes();
}

std::string main_hello() { return text_of_bytes(transport::encode_hello({})); }

std::string data_hello(const transport::SessionId& session, std::uint16_t channel) {
    transport::ConnectionHello hello;
    hello.role = transport::ConnectionRole::kData;
    hello.channel = ChannelId{channel};
    hello.session = session;
    return text_of_bytes(transport::encode_hello(hello));
}

std::string frame_of(FrameType type, std::string_view body) {
    return transport::encode_frame(type, body);
}

std::string round_start(std::uint32_t round) {
    return frame_of(FrameType::kRoundStart, transport::encode(transport::RoundMark{round}));
}

std::string round_end(std::uint32_t round) {
    return frame_of(FrameType::kRoundEnd, transport::encode(transport::RoundMark{round}));
}

std::string add_channels(std::uint16_t channels) {
    return frame_of(FrameType::kAddChannels, transport::encode(transport::ChannelCount{channels}));
}

std::string completion(const transport::PageCounts& pages, std::vector<std::string> digests) {
    return frame_of(FrameType::kComplete,
                    transport::encode(transport::Completion{pages, std::move(digests)}));
}

transport::Offer make_offer(std::uint16_t channels, std::uint64_t pages) {
    transport::Offer offer;
    offer.program = "test";
    offer.regions = {{"ram", pages * kPageSize}};
    offer.settings =
        negotiated({{"multifd-channels", channels == 0 ? "auto" : std::to_string(channels)},
                    {"multifd-packet-size", std::to_string(4 * kPageSize)}});
    return offer;
}

RawSender::RawSender(std::uint16_t port, const transport::Offer& offer)
    : port_(port), channel_count_(offer.settings.channels()), main_(RawSocket::connect(port)) {
    main_.send(main_hello() + frame_of(FrameType::kOffer, transport::encode(offer)));
    std::optional<transport::Frame> frame = main_.next_frame();
    // A receiver that needs longer than 25 ms to prepare sends heartbeats meanwhile.
    while (frame && frame->type == FrameType::kHeartbeat) frame = main_.next_frame();
    if (!frame) FAIL("closed instead of accepted");
    if (frame->type != FrameType::kAccept) FAIL("expected ACCEPT, got " << name_of(frame->type));
    const Result<transport::Accept> accepted = transport::decode_accept(frame->body);
    if (!accepted) FAIL(accepted.error().message());
    session_ = accepted->session;
}

void RawSender::connect_channels() {
    for (std::uint16_t id = 0; id < channel_count_; ++id) connect_channel(id);
    if (!main_.await_frame(FrameType::kReady)) FAIL("not ready");
}

void RawSender::connect_channel(std::uint16_t id) {
    channels_.push_back(RawSocket::connect(port_));
    channels_.back().send(data_hello(session_, id));
}

std::string RawSender::failure() {
    const std::optional<transport::Frame> frame = main_.await_frame(FrameType::kFailure);
    return frame ? transport::decode_failure(frame->body).reason : std::string();
}

void RawSender::close() {
    channels_.clear();
    main_.close();
}

}  // namespace migrate::e2e
