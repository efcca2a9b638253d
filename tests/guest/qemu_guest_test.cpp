// SPDX-License-Identifier: Apache-2.0
// A guest of a QEMU that does not answer in time, or answers otherwise than expected.
#include "guest/qemu/qemu_guest.hpp"

#include <atomic>

#include "base/wait.hpp"
#include "guest/fake_guests.hpp"
#include "guest/fake_qemu.hpp"
#include "guest/qemu/claimed_monitor.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;
using qmp::Json;

// Plays QEMU saving its devices: the stream ends, as nobody kept its descriptor, and the guest is
// migrated.
std::string saved(FakeQemu& qemu, const Json& id) {
    qemu.set_state("postmigrate");
    qemu.set_migration({{"status", "completed"},
                        {"total-time", 3},
                        {"ram", {{"normal", 3}, {"page-size", 4096}}}});
    return FakeQemu::event("MIGRATION", {{"status", "completed"}}) +
           FakeQemu::answer(id, Json::object());
}

// Pauses the guest and saves it, as a switchover does.
Status switch_over(QemuGuest& guest) {
    MIGRATE_TRY(guest.pause());
    MIGRATE_TRY(guest.check_still());
    MIGRATE_TRY(guest.save_state());
    return guest.check_still();
}

TEST_CASE("a switchover's questions are answered, and the guest is given back") {
    FakeQemu* fake = nullptr;
    FakeQemu qemu(
        "running",
        [&](const std::string& command, int, const Json& id) -> std::optional<std::string> {
            if (command == "migrate") return saved(*fake, id);
            return std::nullopt;
        });
    fake = &qemu;
    const auto guest = guest_of(qemu);
    must(switch_over(*guest));
    CHECK(qemu.state() == "postmigrate");
    must(guest->resume());
    CHECK(qemu.state() == "running");
    CHECK(guest->running());
}

TEST_CASE(
    "a stop ends a switchover whose QEMU does not answer, whatever it was asked, and the "
    "guest is given back") {
    struct Question {
        const char* command;
        int time;
    };
    for (const Question& question :
         {Question{"query-migrate", 1}, Question{"query-migrate", 2}, Question{"query-status", 1},
          Question{"query-status", 2}, Question{"query-status", 3}, Question{"query-status", 4},
          Question{"query-status", 5}, Question{"query-migrate-capabilities", 1},
          Question{"query-migrate-capabilities", 2}, Question{"query-migrate-parameters", 1},
          Question{"stop", 1}, Question{"getfd", 1}, Question{"migrate-set-capabilities", 1},
          Question{"migrate-set-parameters", 1}, Question{"migrate", 1}}) {
        INFO(question.command << ", time " << question.time);
        std::stop_source stop;
        FakeQemu* fake = nullptr;
        FakeQemu qemu("running",
                      [&](const std::string& command, int time,
                          const Json& id) -> std::optional<std::string> {
                          if (command == question.command && time == question.time) {
                              // It does what it was told all the same, but nobody hears of it in
                              // time.
                              if (command == "stop") fake->set_state("paused");
                              stop.request_stop();
                              return std::string();
                          }
                          if (command == "migrate") return saved(*fake, id);
                          return std::nullopt;
                      });
        fake = &qemu;
        const auto guest = guest_of(qemu);
        guest->obey(stop.get_token());
        const Status ended = switch_over(*guest);
        REQUIRE_FALSE(ended);
        CHECK(ended.error().kind() == ErrorKind::kCancelled);
        must(guest->resume());
        CHECK(qemu.state() == "running");
        CHECK(qemu.count("cont") <= 1);
        CHECK_FALSE(qemu.fence_is_up());
    }
}

TEST_CASE("the end of QEMU's migration is waited for, until it comes or a stop does") {
    for (const bool stops : {false, true}) {
        INFO(stops);
        std::stop_source stop;
        FakeQemu* fake = nullptr;
        bool is_saved = false;  // the fake's thread only
        int looks = 0;
        FakeQemu qemu(
            "running",
            [&](const std::string& command, int, const Json& id) -> std::optional<std::string> {
                if (command == "migrate") {
                    is_saved = true;
                    return saved(*fake, id);
                }
                if (command != "query-status" || !is_saved || ++looks > 3) return std::nullopt;
                if (stops && looks == 2) stop.request_stop();
                return FakeQemu::answer(id, {{"status", "finish-migrate"}});
            });
        fake = &qemu;
        const auto guest = guest_of(qemu);
        guest->obey(stop.get_token());
        const Status ended = switch_over(*guest);
        CHECK(static_cast<bool>(ended) == !stops);
        if (!ended) CHECK(ended.error().kind() == ErrorKind::kCancelled);
        must(guest->resume());
        CHECK(qemu.state() == "running");
    }
}

TEST_CASE("a state that no pause of ours led to ends the switchover by its name, and is left") {
    for (const char* state : {"guest-panicked", "io-error", "watchdog", "shutdown",
                              "internal-error", "prelaunch", "inmigrate", "save-vm", "restore-vm",
                              "suspended", "colo", "debug", "postmigrate", "finish-migrate"}) {
        INFO(state);
        FakeQemu qemu(state);
        const auto guest = guest_of(qemu);
        const std::string why = message_of(guest->pause());
        CHECK((why.find(state) != std::string::npos || why.find("S3") != std::string::npos));
        must(guest->resume());
        CHECK(qemu.count("stop") == 0);
        CHECK(qemu.count("cont") == 0);
        CHECK(qemu.state() == state);
    }
}

TEST_CASE("an event of the guest's during the switchover ends it, before an answer or after it") {
    for (const char* name : {"RESUME", "SHUTDOWN", "RESET", "GUEST_PANICKED", "BLOCK_IO_ERROR",
                             "WATCHDOG", "DEVICE_DELETED", "MEMORY_DEVICE_SIZE_CHANGE"}) {
        for (const bool before : {true, false}) {
            INFO(name << (before ? " before" : " after"));
            // The third query-status is that of check_still().
            FakeQemu qemu(
                "running",
                [&](const std::string& command, int time,
                    const Json& id) -> std::optional<std::string> {
                    if (command != "query-status" || time != 3) return std::nullopt;
                    const std::string answer = FakeQemu::answer(id, {{"status", "paused"}});
                    const std::string event = FakeQemu::event(name);
                    return before ? event + answer : answer + event;
                });
            const auto guest = guest_of(qemu);
            must(guest->pause());
            Status still = guest->check_still();
            if (!before && still) still = guest->check_still();
            CHECK_THAT(message_of(still), Contains(name));
            CHECK_THAT(guest->disturbance(), Contains(name));
            // Only a guest that another client let run, and paused again, is that client's.
            must(guest->resume());
            CHECK(qemu.count("cont") == (std::string(name) == "RESUME" ? 0 : 1));
        }
    }
}

TEST_CASE(
    "a guest whose QEMU answers nothing after the stop is left to the process that guards it") {
    std::stop_source stop;
    std::atomic<bool> stopped{false};
    FakeQemu qemu("running",
                  [&](const std::string& command, int, const Json&) -> std::optional<std::string> {
                      if (command == "stop") {
                          stopped = true;
                          stop.request_stop();
                      }
                      if (stopped) return std::string();
                      return std::nullopt;
                  });
    const auto guest = guest_of(qemu);
    guest->obey(stop.get_token());
    const Status ended = guest->pause();
    REQUIRE_FALSE(ended);
    CHECK(ended.error().kind() == ErrorKind::kCancelled);
    CHECK_THAT(message_of(guest->resume()), Contains("a process stays behind"));
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE("devices that are saved alone leave the guest paused, with no setting changed") {
    FakeQemu qemu;
    const auto guest = block_guest_of(qemu);
    CHECK(guest->method() == "ram-blocks");
    must(guest->pause());
    const std::string state = must(guest->save_state());
    must(guest->check_still());
    CHECK(qemu.state() == "paused");
    CHECK(qemu.count("migrate") == 0);
    CHECK(qemu.count("migrate-set-parameters") == 0);
    const QemuState saved = must(decode_qemu_state(state));
    CHECK(saved.method == MoveMethod::kRamBlocks);
    CHECK(saved.ran);
    CHECK(must(machine_of(saved.stream)) == "pc-q35-10.0");
    must(guest->resume());
    CHECK(qemu.state() == "running");
    CHECK(qemu.sets() == 0);
}

TEST_CASE("a guest is marked when it is handed over, not before, until it is taken back") {
    FakeQemu qemu;
    {
        const auto guest = block_guest_of(qemu);
        must(guest->pause());
        must(guest->save_state());
        // Whatever kills this process up to here, nothing says that the guest was handed over.
        CHECK_FALSE(qemu.is_marked());
        must(guest->prepare_give_away());
        guest->give_away();
        must(guest->resume());
    }
    CHECK(qemu.state() == "paused");
    CHECK(qemu.is_marked());
    CHECK(qemu.sets() == 1);
    FakeQemu other;
    const auto guest = block_guest_of(other);
    must(guest->pause());
    must(guest->save_state());
    must(guest->prepare_give_away());
    guest->give_away();
    guest->take_back();
    must(guest->resume());
    CHECK(other.state() == "running");
    CHECK(other.sets() == 0);
}

TEST_CASE("a guest that another client paused stays paused, and its disks are taken back") {
    FakeQemu qemu("paused");
    const auto guest = block_guest_of(qemu, false);
    must(guest->pause());
    CHECK_FALSE(must(decode_qemu_state(must(guest->save_state()))).ran);
    must(guest->resume());
    CHECK(qemu.state() == "paused");
    CHECK(qemu.count("cont") == 0);
    CHECK(qemu.count("blockdev-set-active") == 1);
    CHECK(qemu.sets() == 0);
}

TEST_CASE("the disks of a guest that another client has handed over are left to the other side") {
    FakeQemu qemu("paused");
    const auto guest = block_guest_of(qemu, false);
    must(guest->pause());
    must(guest->save_state());
    qemu.set_state("postmigrate");
    qemu.set_migration({{"status", "completed"}, {"total-time", 7}});
    CHECK_FALSE(guest->resume());
    CHECK(qemu.count("blockdev-set-active") == 0);
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE("inactive disks that an earlier QEMU cannot take back are left with the mark") {
    FakeQemu qemu(
        "paused",
        [](const std::string& command, int, const Json& id) -> std::optional<std::string> {
            if (command == "blockdev-set-active") return FakeQemu::refusal(id);
            return std::nullopt;
        });
    {
        const auto guest = block_guest_of(qemu, false);
        must(guest->pause());
        must(guest->save_state());
        must(guest->resume());
    }
    CHECK(qemu.is_marked());
}

TEST_CASE("an event that upsets a running guest is its end as a guest that can be moved") {
    for (const char* name : {"RESET", "SHUTDOWN", "GUEST_PANICKED", "WATCHDOG"}) {
        INFO(name);
        FakeQemu qemu(
            "running",
            [&](const std::string& command, int, const Json& id) -> std::optional<std::string> {
                if (command != "query-memdev") return std::nullopt;
                return FakeQemu::event(name) + FakeQemu::answer(id, Json::array());
            });
        const auto guest = block_guest_of(qemu);
        must(guest->check_alive());
        static_cast<void>(guest->check_unchanged());
        pollfd alarm{guest->alarm(), POLLIN, 0};
        CHECK(wait_for_any(std::span(&alarm, 1), WaitClock::now()) == 0);
        const std::string words = message_of(guest->check_alive());
        CHECK_THAT(words, Contains(std::string("event ") + name));
        CHECK_THAT(words, Contains("stays at the source"));
        CHECK(guest->disturbance() == words.substr(0, guest->disturbance().size()));
    }
}

TEST_CASE("an event of a guest rings its alarm") {
    FakeQemu qemu;
    const auto guest = block_guest_of(qemu);
    pollfd alarm{guest->alarm(), POLLIN, 0};
    CHECK(wait_for_any(std::span(&alarm, 1), WaitClock::now()) == 0);
    qemu.send_event("RESET");
    REQUIRE(wait_for_any(std::span(&alarm, 1), after(std::chrono::seconds(20))) == 1);
    CHECK_THAT(message_of(guest->check_alive()), Contains("it was reset"));
    CHECK(wait_for_any(std::span(&alarm, 1), WaitClock::now()) == 0);
}

TEST_CASE("state that saving the devices alone would lose is refused before the guest is paused") {
    struct Answer {
        const char* command;
        Json answer;
        const char* words;
    };
    const Json bitmap = {{"node-name", "disk0"}, {"dirty-bitmaps", {{{"name", "b0"}}}}};
    for (const Answer& given :
         {Answer{"query-migrate", {{"blocked-reasons", {"a device says no"}}}, "a device says no"},
          Answer{"query-named-block-nodes", Json::array({bitmap}), "'b0' of the node 'disk0'"},
          Answer{"qom-list", Json::array({{{"name", "fs"}, {"type", "child<vhost-user-fs-pci>"}}}),
                 "vhost-user-fs-pci"}}) {
        INFO(given.words);
        FakeQemu qemu(
            "running",
            [&](const std::string& command, int, const Json& id) -> std::optional<std::string> {
                if (command == given.command) return FakeQemu::answer(id, given.answer);
                return std::nullopt;
            });
        const auto guest = block_guest_of(qemu);
        CHECK_THAT(message_of(guest->pause()), Contains(given.words));
        CHECK(qemu.count("stop") == 0);
        must(guest->resume());
        CHECK(qemu.state() == "running");
    }
}

TEST_CASE("a stop ends a switchover that saves the devices alone, whatever QEMU was asked") {
    for (const char* question : {"query-migrate", "query-named-block-nodes", "query-status", "stop",
                                 "xen-save-devices-state"}) {
        INFO(question);
        std::stop_source stop;
        FakeQemu* fake = nullptr;
        FakeQemu qemu(
            "running",
            [&](const std::string& command, int time, const Json&) -> std::optional<std::string> {
                if (command != question || time != 1) return std::nullopt;
                if (command == "stop") fake->set_state("paused");
                stop.request_stop();
                return std::string();
            });
        fake = &qemu;
        auto guest = block_guest_of(qemu);
        guest->obey(stop.get_token());
        const Status ended = switch_over(*guest);
        REQUIRE_FALSE(ended);
        CHECK(ended.error().kind() == ErrorKind::kCancelled);
        must(guest->resume());
        CHECK(qemu.state() == "running");
        guest.reset();
        CHECK(qemu.sets() == 0);
    }
}

TEST_CASE("a QEMU is claimed by one at a time, and free again when that has ended") {
    const FakeQemu qemu;
    const std::string path = qemu.path();
    const QemuAddress address{.socket = path};
    {
        const ClaimedMonitor claimed = must(claim_monitor(address));
        CHECK(claimed.monitor->version() == "7.2.0");
        const auto second = claim_monitor(address);
        CHECK_THAT(message_of(second), Contains("in use by another migration"));
        CHECK(second.error().kind() == ErrorKind::kRefused);
        // The second one is refused on another of its sockets, too.
        const FakeQemu other;
        const std::string other_path = other.path();
        CHECK(claim_monitor({.socket = other_path}).error().kind() == ErrorKind::kRefused);
    }
    must(claim_monitor(address));
}

TEST_CASE("a claim is refused before a greeting is waited for, which another client may delay") {
    const FakeQemu qemu;
    const std::string path = qemu.path();
    const ClaimedMonitor claimed = must(claim_monitor({.socket = path}));
    FakeQemu silent;
    silent.set_greeting("");
    const std::string silent_path = silent.path();
    CHECK(claim_monitor({.socket = silent_path}).error().kind() == ErrorKind::kRefused);
}

TEST_CASE("a QEMU that says what is no greeting, or hangs up, is not claimed for long") {
    for (const char* greeting : {"{}\r\n", "{\"QMP\": 5}\r\n", "{\"QMP\": {}}\r\n", "[]\r\n",
                                 "HTTP/1.1 400 Bad Request\r\n"}) {
        INFO(greeting);
        FakeQemu qemu;
        qemu.set_greeting(greeting);
        const std::string path = qemu.path();
        CHECK(claim_monitor({.socket = path}).error().kind() == ErrorKind::kProtocol);
    }
    const FakeQemu hanging("running",
                           [](const std::string&, int, const Json&) -> std::optional<std::string> {
                               return std::string(FakeQemu::kHangUp);
                           });
    const std::string hanging_path = hanging.path();
    CHECK(claim_monitor({.socket = hanging_path}).error().kind() == ErrorKind::kLostConnection);
    const FakeQemu sound;
    const std::string path = sound.path();
    must(claim_monitor({.socket = path}));
    CHECK_FALSE(claim_monitor({.socket = "/no/such/folder/qmp"}));
}

}  // namespace
}  // namespace migrate::guest
