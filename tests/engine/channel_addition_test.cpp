// SPDX-License-Identifier: Apache-2.0
// multifd-channels=auto: channels that join a session while a round runs.
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/thread.hpp"
#include "catch.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/agreement.hpp"
#include "engine/send/send_session.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

// Adds channels as soon as a round runs, up to the largest number.
SendConfig growing_sender() {
    SendConfig config = patient_sender();
    set_negotiated(config.negotiated, "multifd-channels", "auto");
    config.channel_tuning = {.shortest_interval = milliseconds(1), .always = true};
    return config;
}

TEST_CASE("the round trip that READY took leaves out what the receiver did meanwhile") {
    using std::chrono::microseconds;
    CHECK(round_trip_of(microseconds(40'500), {500}) == microseconds(40'000));
    CHECK(round_trip_of(microseconds(700), {}) == microseconds(700));
    // The receiver's clock runs faster, or it does not tell the truth.
    CHECK(round_trip_of(microseconds(500), {501}) == microseconds(1));
    CHECK(round_trip_of(microseconds(500), {1ULL << 42}) == microseconds(1));
}

struct Moved {
    Status sent;
    Status received;
    Report sender;
    Report receiver;
};

Moved move(const std::string& source_uri, SendConfig config, const std::string& sink = "anon:") {
    EventLog events;
    const auto source = must(memory::open_page_source(source_uri));
    const auto receiver = must(RecvSession::create(patient_receiver(sink), events));
    config.paths = path_to(receiver->port());
    const auto sender = must(SendSession::create(std::move(config), *source, events));
    Moved moved;
    std::jthread receiving([&] { moved.received = receiver->run(); });
    moved.sent = sender->run();
    receiving.join();
    moved.sender = sender->report();
    moved.receiver = receiver->report();
    return moved;
}

void check_moved(const Moved& moved) {
    must(moved.sent);
    must(moved.received);
    CHECK(moved.sender.pages == moved.receiver.pages);
    CHECK(moved.sender.transferred == moved.receiver.transferred);
    CHECK(moved.sender.digests == moved.receiver.digests);
    CHECK(moved.sender.digests.size() == 1);
    CHECK(moved.sender.multifd.channels == moved.receiver.multifd.channels);
    CHECK(moved.sender.channels.size() == moved.sender.multifd.channels + 1U);
    CHECK(moved.receiver.channels.size() == moved.sender.channels.size());
    for (std::size_t i = 0; i < moved.sender.channels.size(); ++i) {
        INFO("channel " << moved.sender.channels[i].name);
        CHECK(moved.sender.channels[i].bytes == moved.receiver.channels[i].bytes);
        CHECK(moved.sender.channels[i].pages == moved.receiver.channels[i].pages);
    }
}

TEST_CASE("channels that join in the only round of an image send pages, and every page arrives") {
    for (const auto detection : {ZeroPageDetection::kMultifd, ZeroPageDetection::kNone}) {
        SendConfig config = growing_sender();
        config.detection = detection;
        const Moved moved = move("anon:512M,fill=mixed:50", config);
        check_moved(moved);
        CHECK(moved.sender.multifd.channels > kFirstAutoChannels);
        CHECK(moved.sender.channels.back().packets > 0);
        CHECK_FALSE(moved.sender.multifd.limited_by.empty());
        CHECK(moved.receiver.multifd.limited_by.empty());
    }
}

TEST_CASE("channels join a session with compression, and one whose sink keeps nothing") {
    SendConfig config = growing_sender();
    set_negotiated(config.negotiated, "multifd-compression", "zstd");
    config.normal_page_ratio = 100;
    const Moved moved = move("anon:256M,fill=mixed:10", config);
    check_moved(moved);
    CHECK(moved.sender.multifd.channels > kFirstAutoChannels);

    SendConfig plain = growing_sender();
    set_negotiated(plain.negotiated, "verify", "none");
    const Moved dropped = move("anon:512M,fill=random", plain, "null:");
    must(dropped.sent);
    must(dropped.received);
    CHECK(dropped.sender.multifd.channels > kFirstAutoChannels);
}

TEST_CASE("a number of channels that was given stays as it is, and legacy mode adds none") {
    SendConfig fixed = growing_sender();
    set_negotiated(fixed.negotiated, "multifd-channels", "3");
    const Moved moved = move("anon:64M,fill=random", fixed);
    check_moved(moved);
    CHECK(moved.sender.multifd.channels == 3);
    CHECK(moved.sender.multifd.limited_by.empty());

    SendConfig legacy = growing_sender();
    legacy.detection = ZeroPageDetection::kLegacy;
    const Moved old = move("anon:64M,fill=random", legacy);
    check_moved(old);
    CHECK(old.sender.multifd.channels == kFirstAutoChannels);
    CHECK(old.sender.multifd.limited_by == "legacy");
}

TEST_CASE("a short migration has two channels, and says that it was too short to add any") {
    SendConfig config = growing_sender();
    config.channel_tuning = {};
    const Moved moved = move("anon:1M,fill=random", config);
    check_moved(moved);
    CHECK(moved.sender.multifd.channels == kFirstAutoChannels);
    CHECK(moved.sender.multifd.limited_by == "time");
}

// A thread of this name cannot be started.
void check_refused_thread(const std::string& name, const std::string& limit, unsigned channels) {
    const ThreadStartHook hook(
        [&](std::string_view started) { return started == name ? EAGAIN : 0; });
    const Moved moved = move("anon:512M,fill=mixed:50", growing_sender());
    INFO(name);
    check_moved(moved);
    CHECK(moved.sender.multifd.channels == channels);
    CHECK(moved.sender.multifd.limited_by == limit);
    CHECK_THAT(moved.sender.multifd.reason, Contains(name));
}

TEST_CASE("a channel whose thread cannot be started on either side leaves the session as it was") {
    check_refused_thread("multifdrecv_2", "receiver", 2);
    check_refused_thread("multifdrecv_3", "receiver", 3);
    check_refused_thread("multifdsend_3", "connection", 2);
}

TEST_CASE("both sides end at once when either is cancelled while channels join") {
    for (const bool sender_cancels : {true, false}) {
        EventLog events;
        const auto source = must(memory::open_page_source("anon:512M,fill=random"));
        const auto receiver = must(RecvSession::create(patient_receiver(), events));
        SendConfig config = growing_sender();
        config.paths = path_to(receiver->port());
        const auto sender = must(SendSession::create(std::move(config), *source, events));
        std::jthread receiving([&] { static_cast<void>(receiver->run()); });
        std::jthread cancels([&](const std::stop_token& stop) {
            while (!stop.stop_requested() && sender->report().multifd.channels <= 2) {
                std::this_thread::yield();
            }
            if (sender_cancels) {
                sender->cancel("the test is over");
            } else {
                receiver->cancel("the test is over");
            }
        });
        const Status sent = sender->run();
        cancels.request_stop();
        cancels.join();
        receiving.join();
        if (!sent) CHECK(sent.error().kind() == ErrorKind::kCancelled);
        CHECK_FALSE(sent);
    }
}

}  // namespace
}  // namespace migrate::engine
