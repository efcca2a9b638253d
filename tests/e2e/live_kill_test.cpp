// SPDX-License-Identifier: Apache-2.0
// A side that is killed or interrupted while a guest moves: one guest goes on, and only one.
#include <csignal>
#include <random>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using std::chrono::milliseconds;

TEST_CASE("killing either side at any moment leaves no second guest and no wrong page", "[live]") {
    const TemporaryFolder folder;
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    unsigned handed_over = 0;
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const bool kills_sender = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 900)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms, kills the "
                     << (kills_sender ? "sender" : "receiver"));
        LiveRun run(folder, "workload:64M,rate=60,warm-up=0",
                    {"--max-bandwidth", "150M/s", "--reconnect-timeout", "0"});
        if (kills_sender) {
            kill_sender(run, when);
        } else if (kill_receiver(run, when)) {
            ++handed_over;
        }
    }
    WARN("seed " << seed << ": " << handed_over
                 << " receivers were killed when the guest was theirs");
}

TEST_CASE("interrupting either side at any moment leaves exactly one guest", "[live]") {
    const TemporaryFolder folder;
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const bool at_sender = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 700)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms, at the "
                     << (at_sender ? "sender" : "receiver"));
        LiveRun run(folder, "workload:64M,rate=60,warm-up=0", {"--max-bandwidth", "150M/s"});
        // Before it says anything it has no guest, or no session, and may simply end.
        if (!run.sender.await_text("connected to")) continue;
        Process& interrupted = at_sender ? run.sender : run.receiver.process();
        interrupted.ended_within(when);
        interrupted.signal(SIGINT);
        run.sender.wait();
        run.receiver->wait();
        INFO(run.sender.both() << run.receiver->both());
        CHECK(guest_went_on(run.sender) != guest_went_on(run.receiver.process()));
    }
}

}  // namespace
}  // namespace migrate::e2e
