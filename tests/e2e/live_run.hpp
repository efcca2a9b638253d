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

// How often a test with random faults repeats: MIGRATE_TEST_KILLS sets it, for a long run by hand.
int fault_turns();

// True if the guest went on at this side with the memory that it must have.
bool guest_went_on(const Process& side);

// True if the sender knows that the receiver has the guest: it must never run it from then on.
bool gave_guest_away(const Process& sender);

enum class GuestPlace { kSender, kReceiver, kNowhere };
// Where the guest went on, of two sides that have ended by themselves, having checked that what
// they did, said and returned agrees: it is never at both, and nowhere only if the sender had given
// it away and the receiver did not come to take it.
GuestPlace judge_guest(Process& sender, Process& receiver);

// Kills a side after that time, unless it has ended by itself, and awaits the other, whose word on
// where the guest is has to be true. kill_receiver(): whether the guest was the receiver's then.
void kill_sender(LiveRun& run, std::chrono::milliseconds when);
bool kill_receiver(LiveRun& run, std::chrono::milliseconds when);

// Awaits the end of both sides: the guest went on at the receiver, with every write, and the
// figures add up.
void check_arrived(LiveRun& run);

}  // namespace migrate::e2e
