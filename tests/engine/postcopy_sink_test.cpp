// SPDX-License-Identifier: Apache-2.0
// The receiving side of post-copy against a source that the test plays, and that may be hostile.
#include "engine/postcopy/postcopy_sink.hpp"

#include <atomic>
#include <cstring>
#include <deque>
#include <optional>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "memory/anon_mapping.hpp"
#include "tests/support/must.hpp"
#include "tests/support/tcp_pair.hpp"
#include "transport/arrived_pages.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::PageMessage;
using transport::PageMessageKind;
using Kind = PageMessageKind;

constexpr RegionId kRam{0};
constexpr std::uint64_t kPages = 64;
constexpr milliseconds kLong{20'000};

// The source's ends of a pair of connections.
struct Source {
    std::unique_ptr<PageConnection> urgent;
    std::unique_ptr<PageConnection> bulk;

    // The next message, which has this kind.
    PageMessage expect(Kind kind) const {
        const auto received = must(urgent->receive(kLong));
        REQUIRE(received);
        CHECK(received->message.kind == kind);
        return received->message;
    }
    static Status send(PageConnection& by, Kind kind, PageRange pages, char content) {
        const std::vector<std::byte> bytes(kind == Kind::kPages ? pages.size_bytes() : 0,
                                           static_cast<std::byte>(content));
        return by.send({.kind = kind,
                        .region = kRam,
                        .count = static_cast<std::uint32_t>(pages.count),
                        .page = pages.first},
                       bytes);
    }
    // Waits until the receiver has ended the connections.
    void await_end() const {
        while (true) {
            const auto received = urgent->receive(kLong);
            if (!received) return;
            REQUIRE(*received);
        }
    }
};

class Fixture {
  public:
    Fixture() {
        mapping_ = must(memory::map_anonymous(kPages * kPageSize, memory::HugePages::kOff, "test"));
        std::memset(mapping_.data(), 'o', mapping_.size());
        sink = must(PostcopySink::create(
            {.regions = regions_,
             .next_connection = [this](milliseconds timeout,
                                       const std::stop_token& stop) { return next(timeout, stop); },
             .io_timeout = kLong,
             .goodbye = milliseconds(100)},
            {{regions_[0], mapping_.bytes(), memory::BackingKind::kPrivate}}));
    }
    ~Fixture() {
        // A thread that still waits for a page could not be joined.
        sink->stop();
    }

    // All pages are missing, but for the first one.
    void begin() {
        transport::ArrivedEncoder encoder(0);
        CHECK(encoder.add(kRam, {1, kPages - 1}).empty());
        must(sink->remove(encoder.finish()));
        must(sink->start());
        must(sink->arm(kPages - 1));
    }
    Source connect() {
        ++epoch_;
        Source source;
        for (std::uint16_t channel = 0; channel < 2; ++channel) {
            transport::SocketPair pair = transport::make_socket_pair();
            auto& made = channel == kUrgentConnection ? source.urgent : source.bulk;
            made = must(PageConnection::create(std::move(pair.near), transport::Party::kReceiver,
                                               regions_));
            const MutexLock lock(mutex_);
            waiting_.push_back({std::move(pair.far),
                                {.role = transport::ConnectionRole::kPostcopy,
                                 .channel = ChannelId{channel},
                                 .epoch = epoch_},
                                {},
                                "a test"});
        }
        came_.notify_all();
        CHECK(source.expect(Kind::kReady).page == 1);
        return source;
    }
    char at(std::uint64_t page) const {
        return static_cast<char>(
            *const_cast<const volatile std::byte*>(&mapping_.bytes()[page * kPageSize]));
    }
    void write(std::uint64_t page, char content) const {
        mapping_.bytes()[page * kPageSize] = static_cast<std::byte>(content);
    }
    void run_guest() const { sink->guest_runs(); }
    // A vCPU that reads a page.
    std::thread read(std::uint64_t page, std::atomic<int>& seen) const {
        return std::thread([this, page, &seen] { seen = at(page); });
    }
    void await(PostcopyState state) const {
        PostcopyState seen = sink->progress().state();
        while (seen != state) {
            const auto next = sink->progress().await_change(seen);
            REQUIRE(next);
            seen = *next;
        }
    }

    std::unique_ptr<PostcopySink> sink;

  private:
    Result<transport::NewConnection> next(milliseconds timeout, const std::stop_token& stop) {
        MutexLock lock(mutex_);
        const bool came = came_.wait_for(lock, stop, timeout,
                                         [this]() REQUIRES(mutex_) { return !waiting_.empty(); });
        if (!came) return Error(ErrorKind::kTimeout, "none");
        transport::NewConnection connection = std::move(waiting_.front());
        waiting_.pop_front();
        return connection;
    }

    const std::vector<RegionInfo> regions_{{"ram", kPages* kPageSize}};
    Mapping mapping_;
    Mutex mutex_;
    StopCondition came_;
    std::deque<transport::NewConnection> waiting_ GUARDED_BY(mutex_);
    std::uint16_t epoch_ = 0;
};

TEST_CASE("a page that the guest touches is asked for, and its latency is counted") {
    Fixture test;
    test.begin();
    const Source source = test.connect();
    test.run_guest();
    const PageMessage runs = source.expect(Kind::kGuestRuns);
    CHECK(runs.page == kPages - 1);
    CHECK(runs.count == 0);
    std::atomic<int> seen{-1};
    std::thread vcpu = test.read(7, seen);
    CHECK(source.expect(Kind::kWanted).page == 7);
    must(Source::send(*source.urgent, Kind::kPages, {7, 1}, 'n'));
    vcpu.join();
    CHECK(seen == 'n');
    CHECK(test.at(0) == 'o');
    must(Source::send(*source.bulk, Kind::kPages, {1, 6}, 'b'));
    must(Source::send(*source.bulk, Kind::kZeroPages, {8, kPages - 8}, 0));
    source.expect(Kind::kPlaced);
    must(source.urgent->send({.kind = Kind::kBye}));
    test.sink->await_goodbye();
    const PostcopyReport report = test.sink->report();
    CHECK(report.requests == 1);
    CHECK(report.latency.faults == 1);
    CHECK(report.normal == 7);
    CHECK(report.zero == kPages - 8);
    CHECK(report.dropped == 0);
    CHECK(test.at(6) == 'b');
    CHECK(test.at(kPages - 1) == 0);
}

TEST_CASE("pages before the guest runs end the connection and are not placed") {
    Fixture test;
    test.begin();
    const Source source = test.connect();
    must(Source::send(*source.bulk, Kind::kPages, {5, 1}, 'x'));
    source.await_end();
    CHECK(test.sink->report().normal == 0);
    CHECK(test.sink->progress().state() == PostcopyState::kNone);
}

TEST_CASE("a page that comes twice or was never missing does not change the guest's memory") {
    Fixture test;
    test.begin();
    const Source source = test.connect();
    test.run_guest();
    source.expect(Kind::kGuestRuns);
    must(Source::send(*source.urgent, Kind::kPages, {5, 1}, 'n'));
    std::atomic<int> seen{-1};
    test.read(5, seen).join();
    CHECK(seen == 'n');
    test.write(5, 'g');
    must(Source::send(*source.bulk, Kind::kPages, {5, 1}, 'x'));
    must(Source::send(*source.bulk, Kind::kZeroPages, {5, 1}, 0));
    must(Source::send(*source.bulk, Kind::kPages, {0, 2}, 'y'));
    must(Source::send(*source.bulk, Kind::kPages, {2, 1}, 'z'));
    test.read(2, seen).join();
    CHECK(seen == 'z');
    CHECK(test.at(5) == 'g');
    CHECK(test.at(0) == 'o');
    CHECK(test.at(1) == 'y');
    CHECK(test.sink->report().dropped == 3);
}

TEST_CASE("a damaged or impossible message ends the connection, and the guest goes on waiting") {
    Fixture test;
    test.begin();
    const Source source = test.connect();
    test.run_guest();
    source.expect(Kind::kGuestRuns);
    const int which = GENERATE(0, 1, 2, 3);
    if (which == 0) {
        // A region that does not exist.
        must(source.bulk->send({.kind = Kind::kZeroPages, .region = RegionId{3}, .count = 1}));
    } else if (which == 1) {
        must(Source::send(*source.bulk, Kind::kZeroPages, {kPages - 1, 2}, 0));
    } else if (which == 2) {
        // The end before all pages came.
        must(source.urgent->send({.kind = Kind::kBye}));
    } else {
        // A message of the other side.
        must(source.bulk->send({.kind = Kind::kPlaced}));
    }
    test.await(PostcopyState::kPaused);
    std::atomic<int> seen{-1};
    std::thread vcpu = test.read(9, seen);
    const Source again = test.connect();
    CHECK(again.expect(Kind::kState).payload_bytes != 0);
    const PageMessage runs = again.expect(Kind::kGuestRuns);
    CHECK(runs.page == kPages - 1);
    CHECK(runs.count == 1);
    CHECK(again.expect(Kind::kWanted).page == 9);
    CHECK(seen == -1);
    must(Source::send(*again.urgent, Kind::kPages, {9, 1}, 'n'));
    vcpu.join();
    CHECK(seen == 'n');
    CHECK(test.sink->report().interruptions == 1);
}

TEST_CASE("after a lost connection the sender learns what is missing, and what is wanted") {
    Fixture test;
    test.begin();
    std::atomic<int> seen{-1};
    std::optional<std::thread> vcpu;
    {
        const Source source = test.connect();
        test.run_guest();
        source.expect(Kind::kGuestRuns);
        must(Source::send(*source.bulk, Kind::kPages, {1, 10}, 'n'));
        std::atomic<int> arrived{-1};
        test.read(10, arrived).join();
        CHECK(arrived == 'n');
        vcpu = test.read(20, seen);
        // Page 10 was asked for, too, if it was touched before it came.
        while (source.expect(Kind::kWanted).page != 20) {
        }
    }
    const Source again = test.connect();
    const auto state = must(again.urgent->receive(kLong));
    REQUIRE(state);
    REQUIRE(state->message.kind == Kind::kState);
    const std::string_view body(reinterpret_cast<const char*>(state->payload.data()),
                                state->payload.size());
    const std::vector<RegionInfo> regions{{"ram", kPages * kPageSize}};
    CHECK(must(transport::decode_arrived(body, regions)).pages ==
          std::vector<PageRange>{{11, kPages - 11}});
    CHECK(again.expect(Kind::kGuestRuns).page == kPages - 11);
    CHECK(again.expect(Kind::kWanted).page == 20);
    must(Source::send(*again.bulk, Kind::kPages, {11, kPages - 11}, 'm'));
    vcpu->join();
    CHECK(seen == 'm');
    test.await(PostcopyState::kComplete);
}

TEST_CASE("the sender counts the missing pages, too") {
    Fixture test;
    must(test.sink->start());
    const Status armed = test.sink->arm(3);
    REQUIRE_FALSE(armed);
    CHECK(armed.error().kind() == ErrorKind::kProtocol);
}

}  // namespace
}  // namespace migrate::engine
