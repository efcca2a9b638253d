// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <thread>

#include "catch.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "engine/recv/recv_session.hpp"
#include "tests/support/negotiated.hpp"
#include "transport/compressor.hpp"

namespace migrate::e2e {
namespace {

using transport::FrameType;

// A receiving session in this process, for as many runs as a session has bytes.
class InProcessReceiver {
  public:
    explicit InProcessReceiver(const std::string& copy) {
        engine::RecvConfig config;
        config.listen.push_back({"127.0.0.1", 0});
        config.sink = "file:" + copy;
        config.handshake_timeout = config.io_timeout = kDeadline;
        auto created = engine::RecvSession::create(config, events_);
        if (!created) FAIL(created.error().message());
        session_ = *std::move(created);
        thread_ = std::thread([this] { status_ = session_->run(); });
    }
    ~InProcessReceiver() {
        if (!thread_.joinable()) return;
        session_->cancel("the test ended");
        thread_.join();
    }
    InProcessReceiver(const InProcessReceiver&) = delete;
    InProcessReceiver& operator=(const InProcessReceiver&) = delete;

    std::uint16_t port() const { return session_->port(); }
    const Status& join() {
        thread_.join();
        return status_;
    }

  private:
    engine::EventLog events_;
    std::unique_ptr<engine::RecvSession> session_;
    Status status_;
    std::thread thread_;
};

// A whole session over one channel: what goes over it before and after READY.
struct ShortSession {
    transport::Offer offer = make_offer(1, 1);
    std::string data;
    std::string main;
};

ShortSession short_session(transport::Compression method) {
    ShortSession session;
    set_negotiated(session.offer.settings, "multifd-compression", std::string(name_of(method)));
    RawPacket packet = normal_packet(0, {0, 1});
    if (method != transport::Compression::kNone) {
        auto compressor =
            transport::Compressor::create(method, 1, session.offer.settings.packet_bytes());
        if (!compressor) FAIL(compressor.error().message());
        iovec part{packet.payload.data(), packet.payload.size()};
        (*compressor)->gather(std::span(&part, 1));
        const auto compressed = (*compressor)->compress();
        if (!compressed || compressed->empty()) FAIL("not compressed");
        packet.payload = text_of_bytes(*compressed);
        packet.header.compression = method;
        packet.header.payload_bytes = static_cast<std::uint32_t>(packet.payload.size());
    }
    session.data = packet.to_bytes() + sync_packet(1);
    session.main = round_start() + round_end() + completion({1, 0, 0});
    return session;
}

// Sends that much of it and closes everything; true if the receiver took it for complete.
bool run_cut_off(const std::string& copy, const ShortSession& session, std::size_t main_bytes,
                 std::size_t data_bytes) {
    InProcessReceiver receiver(copy);
    RawSender sender(receiver.port(), session.offer);
    sender.connect_channels();
    const bool complete = main_bytes == session.main.size() && data_bytes == session.data.size();
    sender.main().send(std::string_view(session.main).substr(0, main_bytes));
    sender.channel(0).send(std::string_view(session.data).substr(0, data_bytes));
    if (complete) sender.main().await_frame(FrameType::kDone);
    sender.close();
    return static_cast<bool>(receiver.join());
}

}  // namespace

TEST_CASE("a stream that breaks off at any byte is never taken for complete", "[hostile]") {
    const auto method = GENERATE(transport::Compression::kNone, transport::Compression::kLz4,
                                 transport::Compression::kZstd);
    INFO(transport::name_of(method));
    const TemporaryFolder folder(scratch_parent());
    const std::string copy = folder / "copy.mem";
    const ShortSession session = short_session(method);
    for (std::size_t bytes = 0; bytes < session.main.size(); ++bytes) {
        INFO("main channel cut off after " << bytes << " bytes");
        REQUIRE_FALSE(run_cut_off(copy, session, bytes, session.data.size()));
        REQUIRE(folder.names().empty());
    }
    for (std::size_t bytes = 0; bytes < session.data.size(); ++bytes) {
        INFO("data channel cut off after " << bytes << " bytes");
        REQUIRE_FALSE(run_cut_off(copy, session, session.main.size(), bytes));
        REQUIRE(folder.names().empty());
    }
    CHECK(run_cut_off(copy, session, session.main.size(), session.data.size()));
    CHECK(folder.names() == std::vector<std::string>{"copy.mem"});
}

TEST_CASE("a handshake that breaks off at any byte costs the receiver nothing", "[hostile]") {
    const TemporaryFolder folder(scratch_parent());
    const ShortSession session = short_session(transport::Compression::kNone);
    const std::string offer =
        main_hello() + frame_of(FrameType::kOffer, transport::encode(session.offer));
    InProcessReceiver receiver(folder / "copy.mem");
    for (std::size_t bytes = 0; bytes < offer.size(); ++bytes) {
        const RawSocket stranger = RawSocket::connect(receiver.port());
        stranger.send(std::string_view(offer).substr(0, bytes));
    }
    RawSender sender(receiver.port(), session.offer);
    const std::string hello = data_hello(sender.session(), 0);
    for (std::size_t bytes = 0; bytes < hello.size(); ++bytes) {
        const RawSocket stranger = RawSocket::connect(receiver.port());
        stranger.send(std::string_view(hello).substr(0, bytes));
    }
    sender.connect_channels();
    sender.main().send(session.main);
    sender.channel(0).send(session.data);
    CHECK(sender.main().await_frame(FrameType::kDone));
    sender.close();
    CHECK(receiver.join());
}

}  // namespace migrate::e2e
