#include <array>
#include <memory>
#include <thread>

#include "base/log.hpp"
#include "catch.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "engine/recv_session.hpp"
#include "transport/compressor.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

constexpr std::uint64_t kPages = 16;  // of the region the raw sender offers

// A receiver into a file with an older version, which has to survive.
struct Victim {
    explicit Victim(const std::vector<std::string>& more = {}) : receiver(options(more)) {}
    std::vector<std::string> options(const std::vector<std::string>& more) const {
        write_file(folder / "copy.mem", "old");
        std::vector<std::string> all{"--sink", "file:" + (folder / "copy.mem")};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    // It fails, says this, and leaves the old file alone.
    void check_fails(const std::string& words) {
        const int code = receiver->wait();
        INFO(receiver->both());
        CHECK(code == 1);
        CHECK_THAT(receiver->err(), Contains("migrate: error:") && Contains(words));
        CHECK(folder.names() == std::vector<std::string>{"copy.mem"});
        CHECK(read_file(folder / "copy.mem") == "old");
    }
    // It still takes a true sender's memory.
    void check_serves() {
        Process sender(send_arguments(receiver, "anon:1M,fill=random"));
        const int sent = sender.wait();
        const int received = receiver->wait();
        INFO(sender.both() << receiver->both());
        CHECK(sent == 0);
        CHECK(received == 0);
        CHECK(std::filesystem::file_size(folder / "copy.mem") == kMiB);
    }

    TemporaryFolder folder{scratch_parent()};
    Receiver receiver;
};

// Something a peer does wrong after READY, on two channels, and what the receiver says of it.
struct Misdeed {
    std::string name;
    std::string words;
    std::function<void(RawSender&)> act;
};

Misdeed on_channel(std::string name, std::string words, std::string bytes) {
    return {std::move(name), "channel 1, packet 0 at byte", [=](RawSender& sender) {
                sender.main().send(round_start());
                sender.channel(1).send(bytes);
                CHECK_THAT(sender.failure(), Contains(words));
            }};
}

Misdeed on_main(std::string name, const std::string& words, const std::string& bytes) {
    return {std::move(name), words, [=](RawSender& sender) {
                sender.main().send(bytes);
                CHECK_THAT(sender.failure(), Contains(words));
            }};
}

void check_misdeeds(const std::vector<Misdeed>& misdeeds, const transport::Offer& offer,
                    const std::vector<std::string>& options = {}) {
    for (const Misdeed& misdeed : misdeeds) {
        INFO(misdeed.name);
        Victim victim(options);
        RawSender sender(victim.receiver.port(), offer);
        sender.connect_channels();
        misdeed.act(sender);
        sender.close();
        victim.check_fails(misdeed.words);
    }
}

template <typename Change>
std::string changed(RawPacket packet, const Change& change) {
    change(packet);
    return packet.to_bytes();
}

// All pages of the region on two channels, up to and with their SYNCs.
void send_all_pages(RawSender& sender) {
    sender.main().send(round_start());
    std::string first;
    for (std::uint32_t i = 0; i < 2; ++i) first += normal_packet(i, {i * 4, 4}).to_bytes();
    sender.channel(0).send(first + sync_packet(2));
    sender.channel(1).send(zero_packet(0, {8, 8}).to_bytes() + sync_packet(1));
    sender.main().send(round_end());
}

}  // namespace

TEST_CASE("strangers do not keep the receiver from its sender", "[hostile]") {
    Victim victim({"--handshake-timeout", "5s"});
    const std::uint16_t port = victim.receiver.port();
    const RawSocket silent = RawSocket::connect(port);
    const RawSocket half_hello = RawSocket::connect(port);
    half_hello.send(main_hello().substr(0, 7));
    const RawSocket half_offer = RawSocket::connect(port);
    const std::string offer = frame_of(FrameType::kOffer, transport::encode(make_offer(2, kPages)));
    half_offer.send(main_hello() + offer.substr(0, offer.size() - 1));
    { const RawSocket leaver = RawSocket::connect(port); }
    for (const std::string& bytes :
         {std::string(64, 'x'), std::string("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
          main_hello() + std::string(64, 'x'), main_hello() + frame_of(FrameType::kComplete, "{}"),
          data_hello(transport::SessionId{}, 0)}) {
        const RawSocket stranger = RawSocket::connect(port);
        stranger.send(bytes);
        CHECK(stranger.is_closed_silently());
    }
    victim.check_serves();
}

TEST_CASE("a sender that cannot be served is told why, and the receiver lives on", "[hostile]") {
    Victim victim;
    transport::Offer two_regions = make_offer(2, kPages);
    two_regions.regions.push_back({"rom", kPageSize});
    std::string other_version = main_hello();
    other_version[4] = 99;
    struct Case {
        std::string bytes;
        std::string words;
    };
    const auto offer = [](const std::string& body) {
        return main_hello() + frame_of(FrameType::kOffer, body);
    };
    std::string unknown_feature = transport::encode(make_offer(2, kPages));
    unknown_feature.replace(unknown_feature.find("multifd\""), 7, "telepat");
    for (const Case& one : {Case{other_version, "version 99"}, Case{offer("{"), "not a JSON"},
                            Case{offer(unknown_feature), "telepat"},
                            Case{offer(transport::encode(two_regions)), "one memory region"},
                            Case{offer(transport::encode(make_offer(0, kPages))), "channels"},
                            Case{offer(transport::encode(make_offer(2, 0))), "size"}}) {
        INFO(one.words);
        RawSocket peer = RawSocket::connect(victim.receiver.port());
        peer.send(one.bytes);
        const std::optional<transport::Frame> frame = peer.next_frame();
        REQUIRE(frame);
        CHECK(frame->type == FrameType::kRefuse);
        CHECK_THAT(transport::decode_failure(frame->body).reason, Contains(one.words));
    }
    victim.check_serves();
}

TEST_CASE("a second sender is refused while the first is served", "[hostile]") {
    Victim victim;
    RawSender first(victim.receiver.port(), make_offer(2, kPages));
    RawSocket second = RawSocket::connect(victim.receiver.port());
    second.send(main_hello() +
                frame_of(FrameType::kOffer, transport::encode(make_offer(2, kPages))));
    const std::optional<transport::Frame> frame = second.next_frame();
    REQUIRE(frame);
    CHECK(frame->type == FrameType::kRefuse);
    first.connect_channels();
    send_all_pages(first);
    first.main().send(completion({8, 8, 0}));
    CHECK(first.main().await_frame(FrameType::kDone));
    CHECK(victim.receiver->wait() == 0);
}

TEST_CASE("a raw sender that keeps to the protocol is served", "[hostile]") {
    Victim victim;
    RawSender sender(victim.receiver.port(), make_offer(2, kPages));
    // A channel of another session is a stranger.
    const RawSocket stranger = RawSocket::connect(victim.receiver.port());
    stranger.send(data_hello(transport::SessionId{}, 0));
    CHECK(stranger.is_closed_silently());
    sender.connect_channels();
    send_all_pages(sender);
    sender.main().send(completion({8, 8, 0}));
    CHECK(sender.main().await_frame(FrameType::kDone));
    CHECK(victim.receiver->wait() == 0);
    std::string expected;
    for (std::uint32_t i = 0; i < 2; ++i) expected += normal_packet(i, {i * 4, 4}).payload;
    expected.resize(kPages * kPageSize, '\0');
    CHECK((read_file(victim.folder / "copy.mem") == expected));
}

TEST_CASE("receiver rejects a channel id that came before or is out of range", "[hostile]") {
    struct Case {
        std::vector<std::uint16_t> ids;
        std::string words;
    };
    for (const Case& one : {Case{{0, 0}, "channel 0 twice"}, Case{{2}, "channel 2"},
                            Case{{65535}, "channel 65535"}}) {
        INFO(one.words);
        Victim victim;
        RawSender sender(victim.receiver.port(), make_offer(2, kPages));
        std::vector<RawSocket> channels;
        for (const std::uint16_t id : one.ids) {
            channels.push_back(RawSocket::connect(victim.receiver.port()));
            channels.back().send(data_hello(sender.session(), id));
        }
        CHECK_THAT(sender.failure(), Contains(one.words));
        sender.close();
        victim.check_fails(one.words);
    }
}

TEST_CASE("receiver rejects a packet that is not what was agreed on", "[hostile]") {
    const RawPacket good = normal_packet(0, {0, 4});
    std::string broken_sum = good.to_bytes();
    broken_sum[36] = static_cast<char>(broken_sum[36] ^ 1);
    std::string broken_run = good.to_bytes();
    broken_run[40] = static_cast<char>(broken_run[40] ^ 4);
    const auto with = [&](const auto& change) { return changed(good, change); };
    check_misdeeds(
        {on_channel("wrong magic", "packet", std::string(40, 'x')),
         on_channel("wrong checksum", "checksum", broken_sum),
         on_channel("changed run list", "checksum", broken_run),
         on_channel("unknown region", "region 7",
                    with([](RawPacket& p) { p.header.region = RegionId{7}; })),
         on_channel("pages past the end", "16 pages", normal_packet(0, {14, 4}).to_bytes()),
         on_channel("first page far past the end", "16 pages",
                    normal_packet(0, {std::uint64_t{1} << 60, 4}).to_bytes()),
         on_channel("zero pages past the end", "16 pages",
                    zero_packet(0, {0, std::uint64_t{1} << 61}).to_bytes()),
         on_channel("wrong sequence", "numbered 5",
                    with([](RawPacket& p) { p.header.sequence = 5; })),
         on_channel("wrong round", "round 2", with([](RawPacket& p) { p.header.round = 2; })),
         on_channel("payload too small", "payload",
                    with([](RawPacket& p) { p.header.payload_bytes -= 1; })),
         on_channel("payload too large", "payload",
                    with([](RawPacket& p) { p.header.payload_bytes = 0xFFFFFFFF; })),
         on_channel("more normal pages than a packet holds", "normal pages",
                    normal_packet(0, {0, 5}).to_bytes()),
         on_channel("runs that differ from the header", "normal pages", with([](RawPacket& p) {
                        p.runs = {{{0, 3}, PageKind::kNormal}};
                    })),
         on_channel("compression nobody agreed on", "compression", with([](RawPacket& p) {
                        p.header.compression = transport::Compression::kZstd;
                        p.header.payload_bytes = 100;
                    })),
         on_channel("no runs", "run list", with([](RawPacket& p) { p.runs.clear(); })),
         on_channel("a SYNC with content", "SYNC",
                    with([](RawPacket& p) { p.header.kind = transport::PacketKind::kSync; }))},
        make_offer(2, kPages));
}

TEST_CASE("receiver rejects a page that comes twice in a round", "[hostile]") {
    check_misdeeds({{"on one channel", "came twice",
                     [](RawSender& sender) {
                         sender.main().send(round_start());
                         sender.channel(0).send(normal_packet(0, {0, 4}).to_bytes() +
                                                zero_packet(1, {3, 1}).to_bytes());
                         CHECK_THAT(sender.failure(), Contains("page 3") && Contains("twice"));
                     }},
                    {"on two channels", "came twice",
                     [](RawSender& sender) {
                         sender.main().send(round_start());
                         sender.channel(0).send(normal_packet(0, {4, 4}).to_bytes());
                         sender.channel(1).send(normal_packet(0, {4, 4}).to_bytes());
                         CHECK_THAT(sender.failure(), Contains("page 4") && Contains("twice"));
                     }}},
                   make_offer(2, kPages));
}

TEST_CASE("receiver rejects a round or totals that do not add up", "[hostile]") {
    check_misdeeds(
        {{"missing pages", "never came",
          [](RawSender& sender) {
              sender.main().send(round_start());
              sender.channel(0).send(zero_packet(0, {0, 15}).to_bytes() + sync_packet(1));
              sender.channel(1).send(sync_packet(0));
              sender.main().send(round_end());
              CHECK_THAT(sender.failure(), Contains("page 15"));
          }},
         {"wrong totals", "the sender counted",
          [](RawSender& sender) {
              send_all_pages(sender);
              sender.main().send(completion({9, 7, 0}));
              CHECK_THAT(sender.failure(), Contains("the sender counted 9 normal"));
          }},
         on_main("no round at all", "without a round", completion({0, 0, 0})),
         on_main("round 2 first", "round 2", round_start(2)),
         on_main("another round's end", "round 3", round_start() + round_end(3)),
         on_main("a frame nobody expects", "OFFER", frame_of(FrameType::kOffer, "{}")),
         on_main("a mark that is no JSON", "JSON", frame_of(FrameType::kRoundStart, "{")),
         on_main("garbage", "magic", std::string(64, 'x')),
         on_main("a frame of 4 GiB", "allowed",
                 frame_of(FrameType::kHeartbeat, "").substr(0, 8) + "\xFF\xFF\xFF\xFF")},
        make_offer(2, kPages));
}

TEST_CASE("receiver rejects a digest that differs", "[hostile]") {
    transport::Offer offer = make_offer(2, kPages);
    offer.verify = true;
    for (const std::vector<std::string>& digests :
         {std::vector<std::string>{std::string(32, '0')}, std::vector<std::string>{}}) {
        check_misdeeds({{"digest", "digest",
                         [&](RawSender& sender) {
                             send_all_pages(sender);
                             sender.main().send(completion({8, 8, 0}, digests));
                             CHECK_THAT(sender.failure(), Contains("digest"));
                         }}},
                       offer);
    }
}

TEST_CASE("receiver rejects compressed garbage", "[hostile]") {
    for (const auto method : {transport::Compression::kLz4, transport::Compression::kZstd}) {
        INFO(transport::name_of(method));
        transport::Offer offer = make_offer(2, kPages);
        offer.compression = method;
        RawPacket garbage = normal_packet(0, {0, 4});
        garbage.header.compression = method;
        garbage.header.payload_bytes = 200;
        garbage.payload = std::string(200, 'x');
        RawPacket none = garbage;
        none.header.payload_bytes = 0;
        none.payload.clear();
        RawPacket huge = garbage;
        huge.header.payload_bytes = 4 * 4096 + 1;
        Misdeed bad_content = on_channel("garbage", "", garbage.to_bytes());
        bad_content.words = "channel 1";
        check_misdeeds({bad_content, on_channel("no payload", "payload", none.to_bytes()),
                        on_channel("larger than plain", "payload", huge.to_bytes())},
                       offer);
    }
}

TEST_CASE("a channel that closes in mid-packet fails the receiver by its number", "[hostile]") {
    const std::string packet = normal_packet(0, {0, 4}).to_bytes();
    for (const std::size_t bytes :
         {std::size_t{0}, std::size_t{20}, std::size_t{41}, packet.size() - 1}) {
        INFO(bytes);
        Victim victim;
        RawSender sender(victim.receiver.port(), make_offer(2, kPages));
        sender.connect_channels();
        sender.main().send(round_start());
        sender.channel(1).send(std::string_view(packet).substr(0, bytes));
        sender.channel(1).close();
        CHECK_THAT(sender.failure(), Contains("channel 1"));
        sender.close();
        victim.check_fails("channel 1");
    }
}

TEST_CASE("a peer that stalls is given up after the timeout that covers the stage", "[hostile]") {
    const std::vector<std::string> timeouts{"--io-timeout", "500ms", "--handshake-timeout",
                                            "500ms"};
    SECTION("before its channels are connected") {
        Victim victim(timeouts);
        RawSender sender(victim.receiver.port(), make_offer(2, kPages));
        victim.check_fails("-timeout");
    }
    SECTION("silent on every channel") {
        Victim victim(timeouts);
        RawSender sender(victim.receiver.port(), make_offer(2, kPages));
        sender.connect_channels();
        victim.check_fails("io-timeout");
    }
    SECTION("in mid-packet, while the main channel lives") {
        const std::string packet = normal_packet(0, {0, 4}).to_bytes();
        const std::size_t bytes = GENERATE(std::size_t{20}, std::size_t{41}, std::size_t{5000});
        Victim victim(timeouts);
        RawSender sender(victim.receiver.port(), make_offer(2, kPages));
        sender.connect_channels();
        sender.main().send(round_start());
        sender.channel(1).send(std::string_view(packet).substr(0, bytes));
        const auto until = std::chrono::steady_clock::now() + kDeadline;
        while (!victim.receiver->ended_within(std::chrono::milliseconds(100)) &&
               std::chrono::steady_clock::now() < until) {
            sender.main().send(frame_of(FrameType::kHeartbeat, ""));
        }
        victim.check_fails("channel 1");
    }
    SECTION("its last packets do not come though the round has ended") {
        Victim victim(timeouts);
        RawSender sender(victim.receiver.port(), make_offer(2, kPages));
        sender.connect_channels();
        sender.main().send(round_start() + round_end());
        const auto until = std::chrono::steady_clock::now() + kDeadline;
        while (!victim.receiver->ended_within(std::chrono::milliseconds(100)) &&
               std::chrono::steady_clock::now() < until) {
            sender.main().send(frame_of(FrameType::kHeartbeat, ""));
        }
        victim.check_fails("the round ended on the main channel");
    }
}

namespace {

using SenderAct = std::function<void(RawListener&, Process&)>;

// A real sender against a raw receiver: it fails and says this.
void check_sender_fails(const std::string& words, const SenderAct& act,
                        const std::string& source = "anon:64M,fill=random") {
    RawListener listener;
    Process sender({"send", "--connect", listener.endpoint(), "--source", source,
                    "--handshake-timeout", "1s", "--io-timeout", "1s"});
    act(listener, sender);
    const int code = sender.wait();
    INFO(sender.both());
    CHECK(code == 1);
    CHECK_THAT(sender.err(), Contains("migrate: error:") && Contains(words));
}

// Takes the sender's hello and offer and accepts.
RawSocket accept_sender(const RawListener& listener) {
    RawSocket main = listener.accept();
    REQUIRE(main.skip(transport::kHelloSize));
    REQUIRE(main.await_frame(FrameType::kOffer));
    main.send(
        frame_of(FrameType::kAccept, transport::encode(transport::Accept{{}, "test", "null:"})));
    return main;
}

void send_heartbeats(RawSocket& main, Process& sender) {
    const auto until = std::chrono::steady_clock::now() + kDeadline;
    while (!sender.ended_within(std::chrono::milliseconds(100)) &&
           std::chrono::steady_clock::now() < until) {
        if (!main.send(frame_of(FrameType::kHeartbeat, ""))) return;
    }
}

}  // namespace

TEST_CASE("a receiver that misbehaves before it accepts fails the sender", "[hostile]") {
    check_sender_fails("main channel", [](RawListener& l, Process&) { l.accept(); });
    check_sender_fails("magic", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(std::string(64, 'x'));
        sender.wait();
    });
    check_sender_fails("-timeout", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        sender.wait();
    });
    check_sender_fails("ACCEPT within", [](RawListener& l, Process& sender) {
        RawSocket main = l.accept();
        send_heartbeats(main, sender);
    });
    check_sender_fails("the receiver refused: no room", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(
            frame_of(FrameType::kRefuse, transport::encode(transport::Failure{false, "no room"})));
        sender.wait();
    });
    check_sender_fails("DONE", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(frame_of(FrameType::kDone, "{}"));
        sender.wait();
    });
    check_sender_fails("session", [](RawListener& l, Process& sender) {
        const RawSocket main = l.accept();
        main.send(frame_of(FrameType::kAccept, R"({"session":"xyz"})"));
        sender.wait();
    });
}

TEST_CASE("a receiver that misbehaves after it accepted fails the sender", "[hostile]") {
    check_sender_fails("changed my mind", [](RawListener& l, Process& sender) {
        const RawSocket main = accept_sender(l);
        main.send(frame_of(FrameType::kRefuse,
                           transport::encode(transport::Failure{false, "changed my mind"})));
        sender.wait();
    });
    check_sender_fails("READY within", [](RawListener& l, Process& sender) {
        RawSocket main = accept_sender(l);
        send_heartbeats(main, sender);
    });
    // Reads nothing from the channels: they stall, though the main channel lives.
    check_sender_fails("channel", [](RawListener& l, Process& sender) {
        RawSocket main = accept_sender(l);
        const std::array<RawSocket, 2> channels{l.accept(), l.accept()};
        main.send(frame_of(FrameType::kReady, "{}"));
        send_heartbeats(main, sender);
    });
    check_sender_fails("channel", [](RawListener& l, Process& sender) {
        RawSocket main = accept_sender(l);
        l.accept();  // and closes it
        const RawSocket other = l.accept();
        main.send(frame_of(FrameType::kReady, "{}"));
        send_heartbeats(main, sender);
    });
    check_sender_fails(
        "the receiver counted 1 normal",
        [](RawListener& l, Process& sender) {
            RawSocket main = accept_sender(l);
            const std::array<RawSocket, 2> channels{l.accept(), l.accept()};
            main.send(frame_of(FrameType::kReady, "{}"));
            REQUIRE(main.await_frame(FrameType::kComplete));
            main.send(frame_of(FrameType::kDone, transport::encode(transport::Done{{1, 2, 3}})));
            sender.wait();
        },
        "anon:64K,fill=untouched");
    check_sender_fails(
        "main channel",
        [](RawListener& l, Process&) {
            RawSocket main = accept_sender(l);
            const std::array<RawSocket, 2> channels{l.accept(), l.accept()};
            main.send(frame_of(FrameType::kReady, "{}"));
            REQUIRE(main.await_frame(FrameType::kComplete));
        },
        "anon:64K,fill=untouched");
}

namespace {

// A receiving session in this process, for as many runs as a session has bytes.
class InProcessReceiver {
  public:
    explicit InProcessReceiver(const std::string& copy) {
        engine::RecvConfig config;
        config.listen = {"127.0.0.1", 0};
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
    session.offer.compression = method;
    RawPacket packet = normal_packet(0, {0, 1});
    if (method != transport::Compression::kNone) {
        auto compressor = transport::Compressor::create(method, 1, session.offer.packet_bytes);
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
    log::set_level(log::Level::kError);
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
    log::set_level(log::Level::kInfo);
}

TEST_CASE("a handshake that breaks off at any byte costs the receiver nothing", "[hostile]") {
    log::set_level(log::Level::kError);
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
    log::set_level(log::Level::kInfo);
}

}  // namespace migrate::e2e
