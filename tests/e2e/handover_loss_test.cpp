// The main channel is lost around the handover of a guest, or around DONE: the sender returns, and
// both sides learn which of them has the guest.
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
                                {"--verify", "digest", "--downtime-limit", "2s",
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
