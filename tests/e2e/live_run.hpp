// SPDX-License-Identifier: Apache-2.0
// A guest on its way between two processes, and what has to hold of it afterwards.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "e2e/process.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::e2e {

// Both sides' processes and what they leave in `folder`.
struct LiveRun {
    // Without `recv_options` the sink is anon:.
    LiveRun(const TemporaryFolder& in, const std::string& source,
            const std::vector<std::string>& options = {},
            const std::vector<std::string>& recv_options = {});

    nlohmann::json sent() const { return read_stats(folder / "send.json"); }
    nlohmann::json received() const { return read_stats(folder / "recv.json"); }

    const TemporaryFolder& folder;
    Receiver receiver;
    Process sender;
};

// Number of repetitions of a test with random faults; MIGRATE_TEST_KILLS sets it for a long run.
int fault_turns();

// True if the guest went on at this side with the memory that it must have.
bool guest_went_on(const Process& side);

// True if the sender knows that the receiver has the guest: it must never run it from then on.
bool gave_guest_away(const Process& sender);

enum class GuestPlace { kSender, kReceiver, kNowhere };
// Returns the side on which the guest continued, after both sides have ended by themselves. Checks
// that output, reports and exit codes agree: the guest never runs on both sides, and on none only
// if the sender handed it over and the receiver ended before it resumed the guest.
GuestPlace judge_guest(Process& sender, Process& receiver);

// Kills a side after `when`, unless it has ended. Waits for the other side and checks that its
// report of the guest's owner is true. kill_receiver() returns true if the receiver had the guest.
void kill_sender(LiveRun& run, std::chrono::milliseconds when);
bool kill_receiver(LiveRun& run, std::chrono::milliseconds when);

// Awaits the end of both sides: the guest went on at the receiver, with every write, and the
// figures add up.
void check_arrived(LiveRun& run);

}  // namespace migrate::e2e
