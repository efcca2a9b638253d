// SPDX-License-Identifier: Apache-2.0
#include "e2e/live_run.hpp"

#include <csignal>
#include <cstdlib>

#include "catch.hpp"

namespace migrate::e2e {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

std::vector<std::string> joined(std::vector<std::string> words,
                                const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

void kill_after(Process& side, milliseconds when) {
    side.ended_within(when);
    side.signal(SIGKILL);
    side.wait();
}

}  // namespace

LiveRun::LiveRun(const TemporaryFolder& in, const std::string& source,
                 const std::vector<std::string>& options,
                 const std::vector<std::string>& recv_options)
    : folder(in),
      receiver(joined(
          {"--stats", folder / "recv.json", "--run-for", "50ms"},
          recv_options.empty() ? std::vector<std::string>{"--sink", "anon:"} : recv_options)),
      sender(send_arguments(
          receiver, source,
          joined({"--stats", folder / "send.json", "--run-for", "50ms", "--multifd-channels", "4"},
                 options))) {}

int fault_turns() {
    const char* turns = std::getenv("MIGRATE_TEST_KILLS");
    return turns == nullptr ? 10 : std::atoi(turns);
}

bool guest_went_on(const Process& side) {
    const std::string words = side.both();
    const bool ran = words.find("guest: ran on for") != std::string::npos;
    if (ran) CHECK(words.find("memory check: passed") != std::string::npos);
    return ran;
}

bool gave_guest_away(const Process& sender) {
    return sender.both().find("was handed over") != std::string::npos ||
           sender.out().find("moved: the guest") != std::string::npos;
}

GuestPlace judge_guest(Process& sender, Process& receiver) {
    const int sent = sender.wait();
    const int received = receiver.wait();
    INFO("sender, " << sent << ":\n"
                    << sender.both() << "receiver, " << received << ":\n"
                    << receiver.both());
    const bool stayed = guest_went_on(sender);
    const bool arrived = guest_went_on(receiver);
    CHECK_FALSE((stayed && arrived));
    CHECK(stayed != gave_guest_away(sender));
    // The guest stayed, whatever else failed; it arrived; or it was given away, unconfirmed.
    CHECK(((sent == 0 || sent == 6) != stayed));
    CHECK((sent == 0 || sent == 1 || sent == 3 || sent == 5 || sent == 6));
    CHECK((received == 0 || received == 1 || received == 3 || received == 4 || received == 5));
    // The receiver's exit code says whether the guest is there; the sender's, that it knows it to
    // be.
    CHECK((received == 0) == arrived);
    if (sent == 0) CHECK(arrived);
    return arrived ? GuestPlace::kReceiver : stayed ? GuestPlace::kSender : GuestPlace::kNowhere;
}

void kill_sender(LiveRun& run, milliseconds when) {
    kill_after(run.sender, when);
    // A receiver to which no sender came would go on waiting for one.
    if (!run.receiver->ended_within(milliseconds(3000))) run.receiver->signal(SIGINT);
    const int code = run.receiver->wait();
    INFO(run.sender.both() << run.receiver->both());
    CHECK((code == 0 || code == 1 || code == 4));
    // Exit code 0 says that the guest is here; then it has to have been checked.
    CHECK(guest_went_on(run.receiver.process()) == (code == 0));
}

bool kill_receiver(LiveRun& run, milliseconds when) {
    kill_after(run.receiver.process(), when);
    const int code = run.sender.wait();
    INFO(run.sender.both() << run.receiver->both());
    CHECK((code == 0 || code == 1 || code == 6));
    const bool given_away = gave_guest_away(run.sender);
    CHECK(given_away == (code != 1));
    CHECK(guest_went_on(run.sender) != given_away);
    return given_away;
}

void check_arrived(LiveRun& run) {
    INFO(run.sender.both() << run.receiver->both());
    REQUIRE(run.sender.wait() == 0);
    REQUIRE(run.receiver->wait() == 0);
    CHECK_FALSE(guest_went_on(run.sender));
    CHECK(guest_went_on(run.receiver.process()));
    const json sent = run.sent();
    const json received = run.received();
    CHECK(sent["guest"]["state"] == "postmigrate");
    CHECK(received["guest"]["check"] == "passed");
    check_accounting({sent, received});
    const json& split = sent["downtime-split-us"];
    std::int64_t sum = 0;
    for (const auto& [name, value] : split.items()) sum += value.get<std::int64_t>();
    // Each part is cut to whole microseconds, or by the other side's clock rounded up.
    CHECK(std::abs(sum - sent["downtime-us"].get<std::int64_t>()) <= 16);
    std::uint64_t planned = sent["rounds-left-out"]["pages"];
    std::uint64_t postponed = sent["rounds-left-out"]["postponed"];
    for (const json& round : sent["rounds"]) {
        planned += round["pages"].get<std::uint64_t>();
        postponed += round["postponed"].get<std::uint64_t>();
    }
    CHECK(planned == sent["ram"]["planned-pages"]);
    CHECK(postponed == sent["ram"]["postponed-pages"]);
    CHECK(postponed == received["ram"]["postponed-pages"]);
    // The first round sends all memory, and no collection follows the last one.
    CHECK(sent["rounds"].front()["postponed"] == 0);
    CHECK(sent["rounds"].back()["postponed"] == 0);
}

}  // namespace migrate::e2e
