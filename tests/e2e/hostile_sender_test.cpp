// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/negotiated.hpp"
#include "transport/page_digests.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

constexpr std::uint64_t kOfferedPages = 16;  // of the region the raw sender offers

// A receiver into a file with an older version, which has to survive.
struct Victim {
    explicit Victim(const std::vector<std::string>& more = {}) : receiver(options(more)) {}
    std::vector<std::string> options(const std::vector<std::string>& more) const {
        write_file(folder / "copy.mem", "old");
        std::vector<std::string> all{"--sink", "file:" + (folder / "copy.mem")};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    // It ends with this code, says this, and leaves the old file alone.
    void check_fails(const std::string& words, int expected = 1) {
        const int code = receiver->wait();
        INFO(receiver->both());
        CHECK(code == expected);
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
// In the round that has begun.
void send_pages(RawSender& sender) {
    std::string first;
    for (std::uint32_t i = 0; i < 2; ++i) first += normal_packet(i, {i * 4, 4}).to_bytes();
    sender.channel(0).send(first + sync_packet(2));
    sender.channel(1).send(zero_packet(0, {8, 8}).to_bytes() + sync_packet(1));
    sender.main().send(round_end());
}

void send_all_pages(RawSender& sender) {
    sender.main().send(round_start());
    send_pages(sender);
}

}  // namespace

TEST_CASE("strangers do not keep the receiver from its sender", "[hostile]") {
    Victim victim({"--handshake-timeout", "5s"});
    const std::uint16_t port = victim.receiver.port();
    const RawSocket silent = RawSocket::connect(port);
    const RawSocket half_hello = RawSocket::connect(port);
    half_hello.send(main_hello().substr(0, 7));
    const RawSocket half_offer = RawSocket::connect(port);
    const std::string offer =
        frame_of(FrameType::kOffer, transport::encode(make_offer(2, kOfferedPages)));
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
    transport::Offer two_regions = make_offer(2, kOfferedPages);
    two_regions.regions.push_back({"rom", kPageSize});
    std::string other_version = main_hello();
    other_version[4] = 1;
    struct Case {
        std::string bytes;
        std::string words;
    };
    const auto offer = [](const std::string& body) {
        return main_hello() + frame_of(FrameType::kOffer, body);
    };
    std::string unknown_feature = transport::encode(make_offer(2, kOfferedPages));
    unknown_feature.replace(unknown_feature.find("multifd\""), 7, "telepat");
    std::string no_channels = transport::encode(make_offer(3, kOfferedPages));
    no_channels.replace(no_channels.find("\"3\""), 3, "\"0\"");
    std::string unknown_setting = no_channels;
    unknown_setting.replace(unknown_setting.find("multifd-channels"), 16, "multifd-future-x");
    transport::Offer large_buffer = make_offer(2, kOfferedPages);
    set_negotiated(large_buffer.settings, "multifd-socket-buffer", "1G");
    for (const Case& one :
         {Case{other_version, "the receiver speaks protocol version 2, the sender version 1"},
          Case{offer("{"), "not a JSON"}, Case{offer(unknown_feature), "telepat"},
          Case{offer(transport::encode(two_regions)), "one memory region"},
          Case{offer(no_channels), "multifd-channels=0 cannot be used here"},
          Case{offer(transport::encode(large_buffer)), "raise net.core.rmem_max"},
          Case{offer(unknown_setting), "there is no option 'multifd-future-x'"},
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

TEST_CASE("a second sender is refused at once while the first is served", "[hostile]") {
    Victim victim;
    const auto check_busy = [&] {
        RawSocket second = RawSocket::connect(victim.receiver.port());
        second.send(main_hello() +
                    frame_of(FrameType::kOffer, transport::encode(make_offer(2, kOfferedPages))));
        const std::optional<transport::Frame> frame = second.next_frame();
        REQUIRE(frame);
        CHECK(frame->type == FrameType::kRefuse);
        CHECK_THAT(transport::decode_failure(frame->body).reason, Contains("busy"));
    };
    RawSender first(victim.receiver.port(), make_offer(2, kOfferedPages));
    check_busy();
    first.connect_channels();
    check_busy();
    first.main().send(round_start());
    check_busy();
    // A channel that no session has is closed meanwhile.
    const RawSocket stranger = RawSocket::connect(victim.receiver.port());
    stranger.send(data_hello(transport::SessionId{}, 0));
    CHECK(stranger.is_closed_silently());
    send_pages(first);
    first.main().send(completion({8, 8, 0}));
    CHECK(first.main().await_frame(FrameType::kDone));
    CHECK(victim.receiver->wait() == 0);
}

TEST_CASE("a sender that goes away before its session begins ends nothing", "[hostile]") {
    Victim victim;
    SECTION("as soon as it has offered") {
        const RawSocket peer = RawSocket::connect(victim.receiver.port());
        peer.send(main_hello() +
                  frame_of(FrameType::kOffer, transport::encode(make_offer(2, kOfferedPages))));
    }
    SECTION("after ACCEPT") {
        RawSender(victim.receiver.port(), make_offer(2, kOfferedPages)).close();
    }
    SECTION("with some of its channels, and a reason") {
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
        const RawSocket channel = RawSocket::connect(victim.receiver.port());
        channel.send(data_hello(sender.session(), 0));
        sender.main().send(frame_of(
            FrameType::kFailure,
            transport::encode(transport::Failure{true, "SIGINT received", false, "cancelled"})));
        REQUIRE(victim.receiver->await_text("cancelled by the peer: SIGINT received"));
    }
    SECTION("with a frame that may not come yet") {
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
        sender.main().send(round_start());
        CHECK_THAT(sender.failure(), Contains("before READY, got ROUND_START"));
    }
    REQUIRE(victim.receiver->await_text("the receiver waits for another sender"));
    victim.check_serves();
}

TEST_CASE("a raw sender that keeps to the protocol is served", "[hostile]") {
    Victim victim;
    RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
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
    expected.resize(kOfferedPages * kPageSize, '\0');
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
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
        std::vector<RawSocket> channels;
        for (const std::uint16_t id : one.ids) {
            channels.push_back(RawSocket::connect(victim.receiver.port()));
            channels.back().send(data_hello(sender.session(), id));
        }
        CHECK_THAT(sender.failure(), Contains(one.words));
        sender.close();
        victim.check_serves();
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
         on_channel("wrong sequence", "expected packet 0, got packet 5",
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
        make_offer(2, kOfferedPages));
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
                   make_offer(2, kOfferedPages));
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
         on_main("no round at all",
                 "expected ROUND_START or PAGE_DIGESTS from the sender, got COMPLETE",
                 completion({0, 0, 0})),
         on_main("round 2 first", "got ROUND_START 2", round_start(2)),
         on_main("another round's end", "round 3", round_start() + round_end(3)),
         on_main("a frame nobody expects",
                 "expected ROUND_START or PAGE_DIGESTS from the sender, got OFFER",
                 frame_of(FrameType::kOffer, "{}")),
         on_main("a mark that is no JSON", "JSON", frame_of(FrameType::kRoundStart, "{")),
         on_main("garbage", "expected a control frame", std::string(64, 'x')),
         on_main("a frame of 4 GiB", "allowed",
                 frame_of(FrameType::kHeartbeat, "").substr(0, 8) + "\xFF\xFF\xFF\xFF")},
        make_offer(2, kOfferedPages));
}

TEST_CASE("receiver rejects questions for pages that it did not offer", "[hostile]") {
    const std::vector<Misdeed> misdeeds{on_main("unasked",
                                                "the sender asks for pages that nobody offered it",
                                                frame_of(FrameType::kPageDigests, "x"))};
    check_misdeeds(misdeeds, make_offer(2, kOfferedPages));
}

TEST_CASE("receiver rejects questions for pages that are no such questions", "[hostile]") {
    const TemporaryFolder folder;
    write_file(folder / "old", std::string(kOfferedPages * kPageSize, 'a'));
    const auto question = [](std::uint64_t page) {
        transport::PageDigestsBuilder builder;
        REQUIRE(builder.add(RegionId{0}, page, {1, 2}));
        return frame_of(FrameType::kPageDigests, builder.take());
    };
    const std::vector<Misdeed> misdeeds{
        on_main("empty", "PAGE_DIGESTS is cut off", frame_of(FrameType::kPageDigests, "")),
        on_main("beyond", "region 'ram' has 16 pages", question(kOfferedPages)),
        {"in a round", "expected ROUND_END or ADD_CHANNELS", [&](RawSender& sender) {
             sender.main().send(round_start() + question(0));
             CHECK_THAT(sender.failure(), Contains("got PAGE_DIGESTS"));
         }}};
    check_misdeeds(misdeeds, make_offer(2, kOfferedPages), {"--reuse", folder / "old"});
}

TEST_CASE("receiver rejects a digest that differs", "[hostile]") {
    transport::Offer offer = make_offer(2, kOfferedPages);
    set_negotiated(offer.settings, "verify", "digest");
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
        transport::Offer offer = make_offer(2, kOfferedPages);
        set_negotiated(offer.settings, "multifd-compression", std::string(name_of(method)));
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
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
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
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
        CHECK_THAT(sender.failure(), Contains("0 of 2 channels connected within 500 ms"));
        victim.check_serves();
    }
    SECTION("silent on every channel") {
        Victim victim(timeouts);
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
        sender.connect_channels();
        victim.check_fails("io-timeout");
    }
    SECTION("in mid-packet, while the main channel lives") {
        const std::string packet = normal_packet(0, {0, 4}).to_bytes();
        const std::size_t bytes = GENERATE(std::size_t{20}, std::size_t{41}, std::size_t{5000});
        Victim victim(timeouts);
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
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
        RawSender sender(victim.receiver.port(), make_offer(2, kOfferedPages));
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

}  // namespace migrate::e2e
