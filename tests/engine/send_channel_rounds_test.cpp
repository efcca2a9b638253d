// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_channel.hpp"

#include <thread>

#include "accel/cpu_page_scanner.hpp"
#include "catch.hpp"
#include "memory/source/page_source.hpp"
#include "tests/support/must.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint64_t kRoundPacketBytes = 64 * kPageSize;

// A channel on a thread of its own; the other end in the test's hands.
struct RoundSending {
    explicit RoundSending(const std::string& uri, bool legacy = false)
        : source(must(memory::open_page_source(uri))),
          scanner(*source,
                  std::make_unique<accel::CpuPageScanner>(accel::all_zero_kernels().back()), {}) {
        auto [near, far] = transport::make_socket_pair();
        channel.emplace(ChannelId{0}, std::move(near), nullptr, pacer);
        peer.emplace(std::move(far));
        if (legacy) shared.legacy = &feed;
        thread = std::jthread([this, own = legacy ? nullptr : &scanner] {
            status = channel->run(shared, own, 0, stop.get_token());
        });
    }
    ~RoundSending() {
        gate.close();
        stop.request_stop();
    }
    RoundSending(const RoundSending&) = delete;
    RoundSending& operator=(const RoundSending&) = delete;

    void begin_round() {
        shared.plan.emplace(RoundPlan::all(source->regions(), 1));
        feed.begin_round();
        gate.open(1);
    }
    // The next packet's header; its runs and payload are dropped.
    transport::PacketHeader receive() {
        transport::PacketHeaderBytes bytes{};
        must(peer->receive(bytes));
        const transport::PacketLimits limits{kRoundPacketBytes,
                                             transport::Compression::kNone,
                                             {source->regions().begin(), source->regions().end()}};
        const auto header = must(transport::decode_packet_header(bytes, limits));
        must(peer->discard(header.run_bytes + header.payload_bytes));
        return header;
    }

    std::unique_ptr<memory::PageSource> source;
    SpanScanner scanner;
    transport::Pacer pacer{0};
    RoundGate gate{1};
    LegacyFeed feed{2, kRoundPacketBytes};
    CpuBudget budget{0};
    SendShared shared{.packet_bytes = kRoundPacketBytes, .gate = gate, .budget = budget};
    std::optional<SendChannel> channel;
    std::optional<transport::Socket> peer;
    std::stop_source stop;
    Status status;
    std::jthread thread;
};

TEST_CASE("a channel counts every page of its round, and ends the round with SYNC") {
    RoundSending w("anon:8M,fill=mixed:50");
    w.begin_round();
    std::uint64_t normal = 0;
    while (true) {
        const transport::PacketHeader header = w.receive();
        if (header.kind == transport::PacketKind::kSync) break;
        normal += header.normal_pages;
    }
    REQUIRE(w.gate.wait_for_all({}));
    const transport::PageCounts pages = w.channel->counters().pages.get();
    CHECK(pages.total() == 8 * kMiB / kPageSize);
    CHECK(pages.normal == normal);
    CHECK(pages.normal == pages.total() / 2);
    CHECK(pages.zero == pages.total() / 2);
}

TEST_CASE("with legacy detection untouched memory is passed on a gigabyte at a time") {
    RoundSending w("anon:4G", true);
    w.begin_round();
    must(feed_legacy_round(w.shared, w.scanner, {}));
    std::size_t packets = 0;
    while (w.receive().kind != transport::PacketKind::kSync) ++packets;
    REQUIRE(w.gate.wait_for_all({}));
    CHECK(packets == 4);
    CHECK(w.channel->counters().pages.get() == transport::PageCounts{0, 0, 4 * kGiB / kPageSize});
}

TEST_CASE("a cancelled legacy round ends at once") {
    RoundSending w("anon:8M,fill=random", true);
    w.begin_round();
    std::stop_source cancelled;
    cancelled.request_stop();
    const Status status = feed_legacy_round(w.shared, w.scanner, cancelled.get_token());
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kCancelled);
}

}  // namespace
}  // namespace migrate::engine
