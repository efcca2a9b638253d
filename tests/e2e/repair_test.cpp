// SPDX-License-Identifier: Apache-2.0
// Channels that are lost, by an orderly end or a reset, the main channel too: the migration goes
// on, and only what was in flight is sent again. tests/engine/lost_channels_test has those that
// fall silent. MIGRATE_TEST_KILLS sets the number of random turns.
#include <algorithm>
#include <random>

#include "catch.hpp"
#include "e2e/broken_run.hpp"
#include "e2e/live_run.hpp"
#include "e2e/tcp_proxy.hpp"
#include "e2e/test_image.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using Options = std::vector<std::string>;

// Sends the folder's image while the connections are cut, and checks that the copy is right.
Broken send_image(const TemporaryFolder& folder, const Options& options,
                  const std::vector<Cut>& cuts) {
    Broken broken = run_broken(
        folder, {"file:" + (folder / "image"), "file:" + (folder / "copy"), options}, cuts);
    check_repaired(broken, cuts);
    CHECK(same_content(folder / "image", folder / "copy"));
    return broken;
}

TEST_CASE("an image survives the loss of any data channels at any byte", "[repair][part-1]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 32, 5);
    std::uint64_t lost = 0;
    std::uint64_t bytes = 0;
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const std::uint64_t channels = any_of(random, 1, 4);
        const auto cuts = random_cuts(random, channels, 12 * kMiBytes);
        INFO("seed " << seed << ", turn " << turn << ", " << channels
                     << " channels: " << describe_all(cuts));
        Options options{"--verify", "digest", "--multifd-channels", std::to_string(channels)};
        if (any_of(random, 0, 2) == 0)
            options.insert(options.end(), {"--multifd-compression", "lz4"});
        const Broken broken = send_image(folder, options, cuts);
        lost += broken.outage("channels-lost");
        bytes += broken.outage("bytes-lost");
    }
    WARN("seed " << seed << ": " << fault_turns() << " migrations lost " << lost
                 << " channels, and sent " << bytes << " bytes that did not arrive");
}

TEST_CASE("a guest survives the loss of any data channels while it runs",
          "[repair][live][part-2]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder(scratch_parent());
    std::uint64_t lost = 0;
    int stayed = 0;
    const int turns = (fault_turns() + 1) / 2;
    for (int turn = 0; turn < turns; ++turn) {
        // Each of the first two channels sends half of the memory in the first round. The cuts of
        // the others may fall into the last one.
        const auto cuts = random_cuts(random, 2, 4 * kMiBytes);
        INFO("seed " << seed << ", turn " << turn << ": " << describe_all(cuts));
        const Broken broken =
            run_broken(folder,
                       {.source = "workload:64M,rate=40,warm-up=0",
                        .sink = "anon:",
                        .send_options = {"--verify", "digest", "--multifd-channels", "2",
                                         "--downtime-limit", kAnyDowntime},
                        .code = std::nullopt},
                       cuts);
        INFO(broken.output);
        lost += broken.outage("channels-lost");
        if (broken.sent.at("outcome") == "completed") {
            check_repaired(broken, cuts);
            CHECK(broken.received.at("guest").at("check") == "passed");
            continue;
        }
        ++stayed;
        CHECK(broken.sent.at("guest-owner") == "source");
        CHECK(broken.sent.at("guest").at("check") == "passed");
        CHECK(broken.sent.at("guest").at("state") == "running");
        // A cut of the first connections comes before the last round.
        const bool late = std::any_of(cuts.begin(), cuts.end(),
                                      [](const Cut& cut) { return cut.connection > 2; });
        CHECK(late);
    }
    WARN("seed " << seed << ": of " << turns << " guests " << stayed << " stayed, and " << lost
                 << " channels were lost");
}

// Cuts of the main channel, of all channels at once, and of any that take their place.
std::vector<Cut> random_main_cuts(std::mt19937& random, std::uint64_t channels,
                                  std::uint64_t most) {
    const CutBy by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset;
    const std::uint64_t moment = any_of(random, 5 * kMiBytes, most);
    const std::uint64_t last = any_of(random, 0, 1) == 0 ? 0 : channels;
    std::vector<Cut> cuts;
    for (std::uint64_t connection = 0; connection <= last; ++connection) {
        cuts.push_back({.connection = connection, .by = by, .when = {.bytes = moment}});
    }
    for (std::uint64_t count = any_of(random, 0, 4); count > 0; --count) {
        cuts.push_back({.connection = any_of(random, channels + 1, 3 * channels + 4),
                        .by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset,
                        .when = {.bytes = any_of(random, moment, most)}});
    }
    return cuts;
}

TEST_CASE("an image survives the loss of the main channel and of all channels",
          "[repair][part-3]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder(scratch_parent());
    // A third of it has content.
    make_image(folder / "image", 96, 5);
    std::uint64_t lost = 0;
    std::uint64_t bytes = 0;
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const std::uint64_t channels = any_of(random, 1, 4);
        const auto cuts = random_main_cuts(random, channels, 20 * kMiBytes);
        INFO("seed " << seed << ", turn " << turn << ", " << channels
                     << " channels: " << describe_all(cuts));
        const Options options{"--verify", "digest", "--multifd-channels", std::to_string(channels)};
        const Broken broken = send_image(folder, options, cuts);
        CHECK(broken.outage("main-channel-lost") != 0);
        CHECK(broken.received.at("outages").at("main-channel-lost") != 0);
        CHECK(broken.outage("count") != 0);
        lost += broken.outage("main-channel-lost");
        bytes += broken.outage("bytes-lost");
    }
    WARN("seed " << seed << ": " << fault_turns() << " migrations lost the main channel " << lost
                 << " times, and sent " << bytes << " bytes that did not arrive");
}

TEST_CASE("a guest survives the loss of the main channel and of all channels while it runs",
          "[repair][live][part-4]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder(scratch_parent());
    std::uint64_t lost = 0;
    const int turns = (fault_turns() + 1) / 2;
    for (int turn = 0; turn < turns; ++turn) {
        // The first round has 64 MiB.
        const auto cuts = random_main_cuts(random, 2, 40 * kMiBytes);
        INFO("seed " << seed << ", turn " << turn << ": " << describe_all(cuts));
        const Broken broken =
            run_broken(folder,
                       {.source = "workload:64M,rate=40,warm-up=0",
                        .sink = "anon:",
                        .send_options = {"--verify", "digest", "--multifd-channels", "2",
                                         "--downtime-limit", kAnyDowntime}},
                       cuts);
        check_repaired(broken, cuts);
        CHECK(broken.outage("main-channel-lost") != 0);
        CHECK(broken.received.at("guest").at("check") == "passed");
        lost += broken.outage("main-channel-lost");
    }
    WARN("seed " << seed << ": " << turns << " guests lost the main channel " << lost << " times");
}

TEST_CASE("a main channel that is lost at any frame of a round is made again", "[repair][wire]") {
    using transport::FrameType;
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 8, 6);
    const auto run = [&](const Attempt& attempt, FrameType frame, bool after) {
        Cut cut{.connection = 0, .by = CutBy::kReset};
        (after ? cut.when.after_frame : cut.when.before_frame) = frame;
        INFO(describe(cut));
        const Broken broken = run_broken(folder, attempt, {cut});
        INFO(broken.output);
        CHECK(broken.cuts == 1);
        CHECK(broken.outage("main-channel-lost") == 1);
    };
    for (const bool after : {false, true}) {
        for (const FrameType frame : {FrameType::kRoundStart, FrameType::kRoundEnd}) {
            run({"file:" + (folder / "image"),
                 "file:" + (folder / "copy"),
                 {"--verify", "digest", "--multifd-channels", "2"}},
                frame, after);
            CHECK(same_content(folder / "image", folder / "copy"));
        }
        for (const FrameType frame :
             {FrameType::kRoundStart, FrameType::kRoundEnd, FrameType::kSwitchoverAck}) {
            run({"workload:16M,rate=10,warm-up=0",
                 "anon:",
                 {"--verify", "digest", "--multifd-channels", "2", "--downtime-limit",
                  kAnyDowntime}},
                frame, after);
        }
    }
    run({"file:" + (folder / "image"), "file:" + (folder / "copy"), {"--verify", "digest"}},
        FrameType::kComplete, false);
    run({"workload:16M,rate=10,warm-up=0", "anon:", {"--downtime-limit", kAnyDowntime}},
        FrameType::kRoundDone, false);
}

TEST_CASE("a main channel that falls silent is made again after io-timeout", "[repair]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 32, 6);
    const std::vector<Cut> cuts{
        {.connection = 0, .by = CutBy::kHold, .when = {.bytes = 6 * kMiBytes}}};
    const Broken broken = run_broken(folder,
                                     {"file:" + (folder / "image"),
                                      "file:" + (folder / "copy"),
                                      {"--verify", "digest", "--multifd-channels", "2",
                                       "--io-timeout", "1s", "--max-bandwidth", "10M/s"}},
                                     cuts);
    INFO(broken.output);
    CHECK(broken.cuts == 1);
    CHECK(broken.outage("main-channel-lost") == 1);
    CHECK(same_content(folder / "image", folder / "copy"));
}

TEST_CASE("a main channel that is not made again within reconnect-timeout ends the migration",
          "[repair]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 32, 7);
    const std::vector<Cut> cuts{
        {.connection = 0, .by = CutBy::kReset, .when = {.bytes = 6 * kMiBytes}}};
    const Options options{"--multifd-channels",  "1",    "--io-timeout", "1s",
                          "--reconnect-timeout", "300ms"};
    for (const bool guest : {false, true}) {
        const Broken broken =
            run_broken(folder,
                       {guest ? "workload:32M,rate=10,warm-up=0" : "file:" + (folder / "image"),
                        guest ? "anon:" : "file:" + (folder / "copy"), options, 2, 1},
                       cuts);
        INFO(broken.output);
        CHECK_THAT(broken.sent.at("error-desc").get<std::string>(),
                   Contains("could not be made again within 300 ms (reconnect-timeout)"));
        CHECK_THAT(broken.received.at("error-desc").get<std::string>(),
                   Contains("the sender did not return within 1300 ms"));
        CHECK(broken.outage("count") == 1);
        CHECK(broken.outage("duration-us") >= 300'000);
        if (!guest) continue;
        CHECK(broken.sent.at("guest-owner") == "source");
        CHECK(broken.sent.at("guest").at("check") == "passed");
        CHECK(broken.sent.at("guest").at("state") == "running");
    }
}

TEST_CASE("a migration that loses all data channels at once goes on when they are back",
          "[repair]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 32, 6);
    for (const CutBy by : {CutBy::kFin, CutBy::kReset}) {
        std::vector<Cut> cuts;
        for (const std::size_t connection : {1U, 2U, 3U}) {
            cuts.push_back({.connection = connection, .by = by, .when = {.bytes = 6 * kMiBytes}});
        }
        const Broken broken = run_broken(folder,
                                         {"file:" + (folder / "image"),
                                          "file:" + (folder / "copy"),
                                          {"--verify", "digest", "--multifd-channels", "3"}},
                                         cuts);
        CHECK(broken.cuts == 3);
        CHECK(broken.outage("channels-lost") == 3);
        CHECK(broken.received.at("outages").at("channels-lost") == 3);
        check_repaired(broken, cuts);
        CHECK(same_content(folder / "image", folder / "copy"));
    }
}

TEST_CASE("a migration fails if no data channel is made again within reconnect-timeout",
          "[repair]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 32, 7);
    const std::vector<Cut> cuts{
        {.connection = 1, .by = CutBy::kReset, .when = {.bytes = 6 * kMiBytes}}};
    const Broken broken = run_broken(folder,
                                     {"file:" + (folder / "image"),
                                      "file:" + (folder / "copy"),
                                      {"--multifd-channels", "1", "--reconnect-timeout", "300ms"},
                                      2,
                                      1},
                                     cuts);
    INFO(broken.output);
    CHECK_THAT(broken.sent.at("error-desc").get<std::string>(),
               Contains("none could be made again within 300 ms (reconnect-timeout)"));
    CHECK(broken.sent.at("outcome") == "failed");
    CHECK(broken.outage("count") == 1);
    CHECK(broken.outage("duration-us") >= 300'000);
}

TEST_CASE("without reconnect-timeout a lost channel ends the migration", "[repair]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 32, 8);
    const std::size_t connection = GENERATE(0U, 2U);
    for (const CutBy by : {CutBy::kFin, CutBy::kReset}) {
        const std::vector<Cut> cuts{
            {.connection = connection, .by = by, .when = {.bytes = 6 * kMiBytes}}};
        const Broken broken = run_broken(folder,
                                         {"file:" + (folder / "image"),
                                          "file:" + (folder / "copy"),
                                          {"--multifd-channels", "2", "--reconnect-timeout", "0"},
                                          SIZE_MAX,
                                          1},
                                         cuts);
        INFO(broken.output);
        CHECK_THAT(broken.sent.at("error-desc").get<std::string>(), Contains("channel"));
        CHECK(broken.outage("channels-lost") == 0);
    }
}

}  // namespace
}  // namespace migrate::e2e
