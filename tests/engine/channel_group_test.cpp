// The channels of a connection, which ends and is made again while its session goes on.
#include <thread>

#include "catch.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/send/send_channel_group.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/must.hpp"
#include "tests/support/negotiated.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint16_t kGroupChannels = 3;

// Both sides of a session in one process, whose connections come and go.
struct Groups {
    explicit Groups(const std::string& uri) : source(must(memory::open_page_source(uri))) {
        set_negotiated(config.negotiated, "multifd-channels", std::to_string(kGroupChannels));
        set_negotiated(config.negotiated, "verify", "none");
        scanners = must(ScannerSet::create(config, *source));
        sink = must(memory::open_page_sink("anon:"));
        regions.assign(source->regions().begin(), source->regions().end());
        must(sink->prepare(regions));
        placer = must(memory::PagePlacer::create(*sink, regions, 0));
    }
    Groups(const Groups&) = delete;
    Groups& operator=(const Groups&) = delete;

    // Makes a new connection in place of the last one.
    void connect() {
        sending.reset();
        receiving.reset();
        std::vector<transport::Socket> near;
        std::vector<transport::Socket> far;
        for (std::uint16_t i = 0; i < kGroupChannels; ++i) {
            auto pair = transport::make_socket_pair();
            near.push_back(std::move(pair.near));
            far.push_back(std::move(pair.far));
        }
        sending = must(SendChannelGroup::create(
            std::move(near), {},
            {config, *scanners, pacer, nullptr, times, sender_session, budget}));
        std::array<std::byte, transport::kHelloSize> hello{};
        for (transport::Socket& socket : far) must(socket.receive(hello));
        receiving = must(RecvChannelGroup::create(
            std::move(far), {.limits = {config.negotiated.packet_bytes(),
                                        config.negotiated.compression(), regions, false},
                             .placer = *placer,
                             .times = times,
                             .session = receiver_session,
                             .budget = budget}));
        must(sending->start());
        must(receiving->start());
    }
    // Sends one round from end to end.
    SendChannelGroup::RoundSent round(std::uint32_t number, RoundPlan plan) {
        const std::uint64_t pages = plan.pages();
        receiving->begin_round(number);
        const auto sent = must(sending->run(number, std::move(plan)));
        must(receiving->finish_round(number));
        must(number == 1 ? placer->finish_full_round() : placer->finish_round(pages));
        return sent;
    }

    SendConfig config = patient_sender();
    std::unique_ptr<memory::PageSource> source;
    std::vector<RegionInfo> regions;
    std::unique_ptr<ScannerSet> scanners;
    std::unique_ptr<memory::PageSink> sink;
    std::unique_ptr<memory::PagePlacer> placer;
    transport::Pacer pacer{0};
    CpuBudget budget{0};
    ThreadTimes times;
    Cancellation sender_session;
    Cancellation receiver_session;
    std::unique_ptr<SendChannelGroup> sending;
    std::unique_ptr<RecvChannelGroup> receiving;
};

TEST_CASE("a session's rounds go on over the connection that took the place of another") {
    Groups groups("anon:8M,fill=random");
    groups.connect();
    const RoundPlan all = RoundPlan::all(groups.regions, kGroupChannels);
    const auto first = groups.round(1, RoundPlan::all(groups.regions, kGroupChannels));
    CHECK(first.normal_pages == all.pages());
    groups.sending->shutdown();
    groups.receiving->shutdown();
    CHECK_FALSE(groups.sender_session.stopped());
    CHECK_FALSE(groups.receiver_session.stopped());

    groups.connect();
    std::vector<memory::PageBitmap> written;
    written.push_back(must(memory::PageBitmap::create(groups.regions[0].pages())));
    written[0].set({5, 7});
    const auto second =
        groups.round(2, RoundPlan::written(groups.regions, kGroupChannels, written, {}));
    CHECK(second.normal_pages == 7);
    CHECK(groups.receiving->pages().total() == 7);
    CHECK_FALSE(groups.sender_session.error());
    CHECK_FALSE(groups.receiver_session.error());
}

TEST_CASE("a round is issued again over a new connection without the pages that have arrived") {
    Groups groups("anon:8M,fill=random");
    std::vector<memory::PageBitmap> arrived;
    arrived.push_back(must(memory::PageBitmap::create(groups.regions[0].pages())));
    arrived[0].set({0, 100});
    arrived[0].set({700, 1000});
    const RoundPlan whole = RoundPlan::all(groups.regions, kGroupChannels);
    groups.connect();
    groups.sending->shutdown();
    groups.connect();
    groups.receiving->begin_round(1);
    const auto sent = must(groups.sending->run(1, whole.without(arrived)));
    must(groups.receiving->finish_round(1));
    CHECK(sent.normal_pages == whole.pages() - 1100);
    CHECK(groups.receiving->pages().total() == whole.pages() - 1100);
}

TEST_CASE("a connection that is shut down in a round ends the round and not the session") {
    Groups groups("anon:64M,fill=random");
    // Nobody reads: the round cannot end by itself.
    groups.connect();
    std::jthread ends([&] { groups.sending->shutdown(); });
    const auto sent = groups.sending->run(1, RoundPlan::all(groups.regions, kGroupChannels));
    ends.join();
    REQUIRE_FALSE(sent);
    CHECK(sent.error().kind() == ErrorKind::kCancelled);
    CHECK_FALSE(groups.sender_session.stopped());
    groups.connect();
    CHECK(groups.round(1, RoundPlan::all(groups.regions, kGroupChannels)).normal_pages ==
          groups.regions[0].pages());
}

TEST_CASE("the stop of a session ends its connection, and a channel's error is the session's") {
    Groups groups("anon:64M,fill=random");
    groups.connect();
    groups.receiver_session.fail(Error("disk full"));
    groups.receiving.reset();
    const auto sent = groups.sending->run(1, RoundPlan::all(groups.regions, kGroupChannels));
    REQUIRE_FALSE(sent);
    groups.sending->finish();
    REQUIRE(groups.sender_session.error());
    CHECK_THAT(groups.sender_session.error()->message(), Catch::Matchers::Contains("channel"));
}

}  // namespace
}  // namespace migrate::engine
