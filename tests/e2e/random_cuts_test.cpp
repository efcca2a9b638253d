// SPDX-License-Identifier: Apache-2.0
// Connections are cut at random, any of them, at any moment after the first pages and until the
// end, once or repeatedly: every image and every guest arrives whole. MIGRATE_TEST_CUTS sets how
// many connections are cut.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "catch.hpp"
#include "e2e/broken_run.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using transport::FrameType;

std::uint64_t wanted_cuts() {
    const char* set = std::getenv("MIGRATE_TEST_CUTS");
    return set == nullptr ? 16 : std::strtoull(set, nullptr, 10);
}

// Frames at which the first main channel is cut.
constexpr FrameType kOfGuests[] = {FrameType::kRoundEnd,        FrameType::kSwitchoverAck,
                                   FrameType::kRoundDone,       FrameType::kComplete,
                                   FrameType::kSwitchoverStart, FrameType::kLoaded,
                                   FrameType::kHandover,        FrameType::kDone};
constexpr FrameType kOfImages[] = {FrameType::kRoundEnd, FrameType::kComplete, FrameType::kDone};

// One moment at which connections are cut: one data channel, several, the main one, or all.
void add_cuts(std::vector<Cut>& cuts, std::mt19937& random, std::uint64_t channels,
              std::uint64_t most_bytes) {
    const CutBy by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset;
    const std::uint64_t bytes = any_of(random, kMiBytes, most_bytes);
    // The first connections, or those that take their place.
    const std::uint64_t base = any_of(random, 0, 2) * (channels + 1);
    const auto cut = [&](std::uint64_t connection, CutBy how) {
        cuts.push_back({.connection = base + connection, .by = how, .when = {.bytes = bytes}});
    };
    switch (any_of(random, 0, 3)) {
        case 0:
            return cut(any_of(random, 1, channels), by);
        case 1:
            for (std::uint64_t one = 1; one <= channels; ++one) {
                if (any_of(random, 0, 1) == 0) cut(one, by);
            }
            return;
        case 2: {
            // A main connection that falls silent is lost after io-timeout. A later connection may
            // be a data channel, whose bytes the proxy would go on taking: that looks like a slow
            // receiver, which only stall-limit ends.
            const bool held = any_of(random, 0, 3) == 0;
            return cut(0, held && base == 0 ? CutBy::kHold : by);
        }
        default:
            for (std::uint64_t one = 0; one <= channels; ++one) cut(one, by);
            return;
    }
}

std::vector<Cut> draw_cuts(std::mt19937& random, std::uint64_t channels, std::uint64_t most_bytes,
                           std::span<const FrameType> frames) {
    std::vector<Cut> cuts;
    for (std::uint64_t moments = any_of(random, 1, 3); moments > 0; --moments) {
        add_cuts(cuts, random, channels, most_bytes);
    }
    if (any_of(random, 0, 1) == 0) {
        Cut cut{.connection = 0, .by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset};
        const FrameType frame = frames[any_of(random, 0, frames.size() - 1)];
        (any_of(random, 0, 1) == 0 ? cut.when.before_frame : cut.when.after_frame) = frame;
        cuts.push_back(cut);
    }
    return cuts;
}

// The costs of all turns.
struct Costs {
    std::uint64_t cuts = 0;
    std::uint64_t turns = 0;
    std::uint64_t main_lost = 0;
    std::uint64_t channels_lost = 0;
    std::uint64_t bytes_lost = 0;
    std::uint64_t most_bytes_lost = 0;  // for each lost channel of a turn
    std::uint64_t broken_switchovers = 0;

    void add(const Broken& broken) {
        ++turns;
        cuts += broken.cuts;
        main_lost += broken.outage("main-channel-lost");
        const std::uint64_t lost = broken.outage("channels-lost");
        channels_lost += lost;
        bytes_lost += broken.outage("bytes-lost");
        if (lost != 0) {
            most_bytes_lost = std::max(most_bytes_lost, broken.outage("bytes-lost") / lost);
        }
        const bool broke = broken.output.find("lost in the switchover") != std::string::npos;
        broken_switchovers += broke ? 1 : 0;
    }
    std::string text() const {
        return fmt::format(
            "{} connections cut in {} migrations: the main channel was lost {} times ({} "
            "switchovers "
            "broke off), {} data channels were lost with {} bytes, at most {} bytes on each",
            cuts, turns, main_lost, broken_switchovers, channels_lost, bytes_lost, most_bytes_lost);
    }
};

TEST_CASE("an image arrives whole whatever connections are cut", "[repair]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 48, 9);
    Costs costs;
    while (costs.cuts < wanted_cuts() / 2 && costs.turns < 4 * wanted_cuts()) {
        const std::uint64_t channels = any_of(random, 1, 4);
        const auto cuts = draw_cuts(random, channels, 20 * kMiBytes, kOfImages);
        INFO("seed " << seed << ", turn " << costs.turns << ", " << channels
                     << " channels: " << describe_all(cuts));
        const Broken broken =
            run_broken(folder,
                       {"file:" + (folder / "image"),
                        "file:" + (folder / "copy"),
                        {"--verify", "digest", "--multifd-channels", std::to_string(channels),
                         "--io-timeout", "2s", "--reconnect-timeout", "20s"}},
                       cuts);
        check_repaired(broken, cuts);
        CHECK(same_content(folder / "image", folder / "copy"));
        costs.add(broken);
    }
    WARN("seed " << seed << ": " << costs.text());
}

TEST_CASE("a guest arrives whole whatever connections are cut", "[repair][live][part-1]") {
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const TemporaryFolder folder(scratch_parent());
    Costs costs;
    while (costs.cuts < (wanted_cuts() + 1) / 2 && costs.turns < 4 * wanted_cuts()) {
        const std::uint64_t channels = any_of(random, 1, 3);
        // The first round has 32 MiB.
        const auto cuts = draw_cuts(random, channels, 40 * kMiBytes, kOfGuests);
        INFO("seed " << seed << ", turn " << costs.turns << ", " << channels
                     << " channels: " << describe_all(cuts));
        const Broken broken = run_broken(
            folder,
            {"workload:32M,rate=40,warm-up=0",
             any_of(random, 0, 1) == 0 ? "anon:" : "anon:huge=off",
             {"--verify", "digest", "--multifd-channels", std::to_string(channels),
              "--downtime-limit", kAnyDowntime, "--io-timeout", "2s", "--reconnect-timeout", "20s",
              "--multifd-device-state", any_of(random, 0, 2) == 0 ? "off" : "on"}},
            cuts);
        check_repaired(broken, cuts);
        CHECK(broken.received.at("guest").at("check") == "passed");
        CHECK(broken.sent.at("guest-owner") == "destination");
        costs.add(broken);
    }
    WARN("seed " << seed << ": " << costs.text());
}

}  // namespace
}  // namespace migrate::e2e
