// SPDX-License-Identifier: Apache-2.0
// Connections are lost in the switchover of a guest, around its handover or around DONE: the guest
// runs on at its source, or both sides learn that the receiver has it.
#include "catch.hpp"
#include "e2e/broken_run.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_image.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using transport::FrameType;

Cut cut_at(FrameType frame, bool after, CutBy by) {
    Cut cut{.connection = 0, .by = by};
    (after ? cut.when.after_frame : cut.when.before_frame) = frame;
    return cut;
}

TEST_CASE("a handed over guest runs at the receiver although HANDOVER or DONE gets lost",
          "[repair][live][part-1]") {
    const TemporaryFolder folder(scratch_parent());
    for (const CutBy by : {CutBy::kFin, CutBy::kReset}) {
        for (const FrameType frame :
             {FrameType::kHandover, FrameType::kDone, FrameType::kDoneAck}) {
            for (const bool after : {false, true}) {
                const Cut cut = cut_at(frame, after, by);
                INFO(describe(cut));
                const Broken broken =
                    run_broken(folder,
                               {"workload:16M,rate=10,warm-up=0",
                                "anon:",
                                {"--verify", "digest", "--downtime-limit", kAnyDowntime,
                                 "--reconnect-timeout", "3s", "--io-timeout", "1s"}},
                               {cut});
                INFO(broken.output);
                CHECK(broken.cuts == 1);
                check_repaired(broken, {cut});
                CHECK(broken.sent.at("guest-owner") == "destination");
                CHECK(broken.received.at("guest-owner") == "destination");
                CHECK(broken.received.at("guest").at("check") == "passed");
                const bool needed =
                    frame == FrameType::kHandover || (frame == FrameType::kDone && !after);
                if (needed) CHECK(broken.outage("main-channel-lost") == 1);
            }
        }
    }
}

TEST_CASE("a guest whose switchover loses the main channel runs on, and is moved afterwards",
          "[repair][live][part-2]") {
    const TemporaryFolder folder(scratch_parent());
    const bool on_channels = GENERATE(true, false);
    std::vector<FrameType> frames{FrameType::kSwitchoverStart, FrameType::kComplete,
                                  FrameType::kLoaded};
    if (!on_channels) frames.push_back(FrameType::kDeviceState);
    for (const FrameType frame : frames) {
        for (const bool after : {false, true}) {
            // The sender has LOADED then, and hands the guest over.
            if (frame == FrameType::kLoaded && after) continue;
            const Cut cut = cut_at(frame, after, after ? CutBy::kFin : CutBy::kReset);
            INFO(describe(cut) << ", device state on the channels: " << on_channels);
            const Broken broken =
                run_broken(folder,
                           {"workload:16M,rate=10,warm-up=0",
                            "anon:huge=off",
                            {"--verify", "digest", "--multifd-channels", "2", "--downtime-limit",
                             kAnyDowntime, "--multifd-device-state", on_channels ? "on" : "off"}},
                           {cut});
            INFO(broken.output);
            CHECK(broken.cuts == 1);
            check_repaired(broken, {cut});
            CHECK_THAT(broken.output, Contains("lost in the switchover"));
            CHECK(broken.outage("main-channel-lost") == 1);
            CHECK(broken.sent.at("guest-owner") == "destination");
            CHECK(broken.received.at("guest").at("check") == "passed");
        }
    }
}

TEST_CASE("a data channel that is lost in the last round gives the guest back, and is replaced",
          "[repair][live]") {
    const TemporaryFolder folder(scratch_parent());
    // Each of the two channels has half of the first round; then each carries a little.
    for (const std::uint64_t more : {100'000U, 400'000U}) {
        Cut cut{.connection = 2, .by = CutBy::kReset};
        cut.when.own_bytes = 8 * kMiBytes + more;
        INFO(describe(cut));
        const Broken broken = run_broken(
            folder,
            {"workload:16M,rate=100,warm-up=0",
             "anon:",
             {"--verify", "digest", "--multifd-channels", "2", "--downtime-limit", kAnyDowntime}},
            {cut});
        INFO(broken.output);
        check_repaired(broken, {cut});
        CHECK(broken.received.at("guest").at("check") == "passed");
    }
}

TEST_CASE("a receiver that can load a guest once only is used up by a lost switchover",
          "[repair][live]") {
    const TemporaryFolder folder(scratch_parent());
    const Broken broken =
        run_broken(folder,
                   {.source = "workload:16M,rate=10,warm-up=0",
                    .sink = "bundle:" + (folder / "copy"),
                    .send_options = {"--run-for", "50ms", "--downtime-limit", kAnyDowntime},
                    .code = 1},
                   {cut_at(FrameType::kLoaded, false, CutBy::kReset)});
    INFO(broken.output);
    CHECK_THAT(broken.sent.at("error-desc").get<std::string>(), Contains("it is used up"));
    CHECK(broken.sent.at("guest-owner") == "source");
    CHECK(broken.sent.at("guest").at("state") == "running");
    CHECK(broken.sent.at("guest").at("check") == "passed");
}

TEST_CASE("an image is complete for both sides although DONE gets lost", "[repair]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 8, 6);
    for (const CutBy by : {CutBy::kFin, CutBy::kReset}) {
        for (const FrameType frame :
             {FrameType::kComplete, FrameType::kDone, FrameType::kDoneAck}) {
            for (const bool after : {false, true}) {
                const Cut cut = cut_at(frame, after, by);
                INFO(describe(cut));
                const Broken broken =
                    run_broken(folder,
                               {"file:" + (folder / "image"),
                                "file:" + (folder / "copy"),
                                {"--verify", "digest", "--multifd-channels", "2",
                                 "--reconnect-timeout", "3s", "--io-timeout", "1s"}},
                               {cut});
                INFO(broken.output);
                CHECK(broken.cuts == 1);
                CHECK(same_content(folder / "image", folder / "copy"));
            }
        }
    }
}

TEST_CASE("the owner is unknown only if the sender cannot reach the receiver any more",
          "[repair][live]") {
    const TemporaryFolder folder(scratch_parent());
    const Broken broken = run_broken(folder,
                                     {"workload:16M,rate=10,warm-up=0",
                                      "anon:",
                                      {"--multifd-channels", "2", "--reconnect-timeout", "300ms",
                                       "--io-timeout", "1s", "--run-for", "20ms"},
                                      3,
                                      6,
                                      0},
                                     {cut_at(FrameType::kDone, false, CutBy::kReset)});
    INFO(broken.output);
    CHECK(broken.sent.at("outcome") == "owner-unknown");
    CHECK(broken.sent.at("guest").at("state") == "paused");
    CHECK_THAT(broken.sent.at("error-desc").get<std::string>(),
               Contains("could not be made again within 300 ms (reconnect-timeout)"));
    CHECK(broken.received.at("outcome") == "completed");
    CHECK(broken.received.at("guest").at("check") == "passed");
}

}  // namespace
}  // namespace migrate::e2e
