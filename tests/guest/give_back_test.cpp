// SPDX-License-Identifier: Apache-2.0
// Guests of QEMU that are resumed after a failure, and guests that are left paused.
#include "guest/qemu/give_back.hpp"

#include <set>

#include "guest/fake_qemu.hpp"
#include "guest/qemu/undo_commands.hpp"
#include "tests/support/long_wait.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;
using qmp::Json;
using std::chrono::milliseconds;

constexpr milliseconds kShort{30};

// A migration of another client, or of QEMU itself, that carried all of the guest's memory.
Json whole_migration(const char* status) {
    return {{"status", status},
            {"total-time", 100},
            {"setup-time", 1},
            {"ram", {{"normal", 1000}, {"duplicate", 1000}, {"page-size", 4096}}}};
}
// Our own, of the devices.
Json own_migration(const char* status) {
    return {{"status", status},
            {"total-time", 5},
            {"setup-time", 1},
            {"ram", {{"normal", 3}, {"duplicate", 0}, {"page-size", 4096}}}};
}

struct Given {
    explicit Given(FakeQemu& qemu) : client(must(qmp::Client::connect(qemu.address(), kLong, {}))) {
        client->observe([this](const Json& event) { watch.see(event); });
        held.stopped = true;
        held.before = must(query_migration(*client)).description;
        watch.begin();
    }
    Result<GiveBackResult> back(milliseconds patience = kShort) {
        return give_back(*client, held, &watch, patience);
    }

    std::unique_ptr<qmp::Client> client;
    RunWatch watch;
    Held held;
};

TEST_CASE("a guest that our own stop holds runs again, and nothing of QEMU's is left changed") {
    FakeQemu qemu("paused");
    Given given(qemu);
    CHECK(must(given.back()).guest == GivenBack::kRuns);
    CHECK(qemu.count("cont") == 1);
    CHECK(qemu.state() == "running");
    CHECK_FALSE(qemu.fence_is_up());
}

TEST_CASE("a guest that runs already is left alone") {
    FakeQemu qemu("running");
    Given given(qemu);
    CHECK(must(given.back()).guest == GivenBack::kRuns);
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE("no state but that of our own stop is ended by a cont") {
    for (const char* state :
         {"guest-panicked", "io-error", "watchdog", "shutdown", "internal-error", "prelaunch",
          "inmigrate", "save-vm", "restore-vm", "suspended", "colo", "debug", "preconfig",
          "a state of a later QEMU", ""}) {
        for (const bool knows_events : {true, false}) {
            INFO(state << ", events are known: " << knows_events);
            FakeQemu qemu(state);
            Given given(qemu);
            const auto left =
                give_back(*given.client, given.held, knows_events ? &given.watch : nullptr, kShort);
            if (*state != '\0') {
                CHECK(must(left).guest == GivenBack::kLeft);
                CHECK(must(left).state == state);
            }
            CHECK(qemu.count("cont") == 0);
            CHECK(qemu.state() == state);
        }
    }
}

TEST_CASE("a guest that was handed over by another client is not let run") {
    for (const char* status : {"completed", "none", "a status of a later QEMU"}) {
        INFO(status);
        FakeQemu qemu("postmigrate");
        Given given(qemu);
        qemu.set_migration(whole_migration(status));
        const GiveBackResult result = must(given.back());
        CHECK((result.guest == GivenBack::kElsewhere || result.guest == GivenBack::kMoving));
        CHECK(qemu.count("cont") == 0);
        CHECK(qemu.count("migrate_cancel") == 0);
    }
}

TEST_CASE("a migration of another client is waited for, and neither cancelled nor undone") {
    for (const char* status : {"setup", "active", "device", "postcopy-active", "postcopy-paused",
                               "wait-unplug", "colo"}) {
        INFO(status);
        FakeQemu qemu("paused");
        Given given(qemu);
        qemu.set_migration(whole_migration(status));
        CHECK(must(given.back()).guest == GivenBack::kMoving);
        CHECK(qemu.count("cont") == 0);
        CHECK(qemu.count("migrate_cancel") == 0);
    }
    FakeQemu finishing("finish-migrate");
    Given given(finishing);
    CHECK(must(given.back()).guest == GivenBack::kMoving);
    CHECK(finishing.count("cont") == 0);
}

TEST_CASE("a cancel that QEMU does not complete is completed, and the guest runs again") {
    // With our settings the migration was cancelled by us, without them by the other client.
    for (const bool settings : {true, false}) {
        for (const char* state : {"finish-migrate", "paused"}) {
            INFO(state << ", under our settings: " << settings);
            FakeQemu qemu(state);
            Given given(qemu);
            given.held.settings = settings;
            qemu.set_migration(whole_migration("cancelling"));
            CHECK(must(given.back(kLong)).guest == GivenBack::kRuns);
            CHECK(qemu.count("migrate-continue") == 1);
            CHECK_FALSE(qemu.fence_is_up());
        }
    }
}

TEST_CASE("a cancel that stays incomplete ends the wait at its time, and the guest stays paused") {
    FakeQemu qemu(
        "finish-migrate",
        [](const std::string& command, int, const Json& id) -> std::optional<std::string> {
            if (command != "migrate-continue") return std::nullopt;
            return FakeQemu::answer(id, Json::object());
        });
    Given given(qemu);
    given.held.settings = true;
    qemu.set_migration(whole_migration("cancelling"));
    CHECK(must(given.back()).guest == GivenBack::kMoving);
    CHECK(qemu.count("cont") == 0);
}

// A QEMU whose migration, which another client began, ends as soon as it is cancelled.
FakeQemu::Script cancels(FakeQemu*& fake) {
    return [&fake](const std::string& command, int, const Json&) -> std::optional<std::string> {
        if (command == "migrate_cancel") fake->set_migration(whole_migration("cancelled"));
        return std::nullopt;
    };
}

TEST_CASE("a migration that began under our settings is cancelled, in every state of the guest") {
    for (const auto& [state, result] :
         {std::pair{"running", GivenBack::kRuns}, std::pair{"paused", GivenBack::kRuns},
          std::pair{"io-error", GivenBack::kLeft}}) {
        INFO(state);
        FakeQemu* fake = nullptr;
        FakeQemu qemu(state, cancels(fake));
        fake = &qemu;
        Given given(qemu);
        given.held.settings = true;
        qemu.set_migration(whole_migration("active"));
        CHECK(must(given.back(kLong)).guest == result);
        CHECK(qemu.count("migrate_cancel") == 1);
    }
}

TEST_CASE("a guardian cancels a migration under our settings of a guest that it does not hold") {
    FakeQemu* fake = nullptr;
    FakeQemu qemu("paused", cancels(fake));
    fake = &qemu;
    qemu.set_migration(whole_migration("active"));
    const Held held{.settings = true, .before = "none 0 0 0 0 0"};
    const PutRight done =
        must(put_qemu_right(qemu.address(), held, {}, [](milliseconds) { return false; }));
    CHECK(done.guest.guest == GivenBack::kLeft);
    CHECK(qemu.count("migrate_cancel") == 1);
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE(
    "our own migration of the devices is undone, by its figures or by how little it carried") {
    for (const bool knows_figures : {true, false}) {
        FakeQemu qemu("postmigrate");
        Given given(qemu);
        given.held.saving = true;
        qemu.set_migration(own_migration("completed"));
        if (knows_figures) given.held.saved = must(query_migration(*given.client)).description;
        CHECK(must(given.back()).guest == GivenBack::kRuns);
        CHECK(qemu.count("cont") == 1);
    }
    // Another one that followed ours.
    FakeQemu qemu("postmigrate");
    Given given(qemu);
    given.held.saving = true;
    qemu.set_migration(own_migration("completed"));
    given.held.saved = must(query_migration(*given.client)).description;
    qemu.set_migration(whole_migration("completed"));
    CHECK(must(given.back()).guest == GivenBack::kElsewhere);
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE("a guest that another client stopped, or that ran since, stays as it is") {
    FakeQemu qemu("paused");
    Given not_ours(qemu);
    not_ours.held.stopped = false;
    CHECK(must(not_ours.back()).guest == GivenBack::kLeft);
    FakeQemu another("paused");
    Given ran(another);
    ran.watch.see({{"event", "RESUME"}});
    ran.watch.see({{"event", "STOP"}});
    CHECK(must(ran.back()).guest == GivenBack::kLeft);
    CHECK(qemu.count("cont") + another.count("cont") == 0);
}

TEST_CASE("a paused guest that was reset runs again, and one that waits for its first start not") {
    FakeQemu qemu("prelaunch");
    Given reset(qemu);
    reset.watch.see({{"event", "RESET"}});
    CHECK(must(reset.back()).guest == GivenBack::kRuns);
    CHECK(qemu.count("cont") == 1);
}

// Events that come with the n-th answer to query-status, before or after it.
FakeQemu::Script with_events(bool before, int time, const std::string& events,
                             const std::string& state) {
    return [=](const std::string& command, int now, const Json& id) -> std::optional<std::string> {
        if (command != "query-status" || now != time) return std::nullopt;
        const std::string answer = FakeQemu::answer(id, {{"status", state}, {"running", false}});
        return before ? events + answer : answer + events;
    };
}

TEST_CASE(
    "a pause by another client is left alone, whether its events come before the answer "
    "or after it") {
    const std::string paused_anew = FakeQemu::event("RESUME") + FakeQemu::event("STOP");
    for (const int time : {1, 2}) {
        for (const bool before : {true, false}) {
            // An event after the second look comes at the moment of the `cont` itself.
            if (time == 2 && !before) continue;
            INFO("look " << time << (before ? ", before" : ", after") << " its answer");
            FakeQemu qemu("paused", with_events(before, time, paused_anew, "paused"));
            Given given(qemu);
            CHECK(must(given.back()).guest == GivenBack::kLeft);
            CHECK(qemu.count("cont") == 0);
            CHECK_FALSE(qemu.fence_is_up());
        }
    }
}

TEST_CASE("a guest that ended between two looks is left alone") {
    for (const auto& [name, state] :
         {std::pair{"SHUTDOWN", "shutdown"}, std::pair{"GUEST_PANICKED", "guest-panicked"},
          std::pair{"WATCHDOG", "watchdog"}, std::pair{"BLOCK_IO_ERROR", "io-error"},
          std::pair{"SUSPEND", "suspended"}}) {
        INFO(name);
        FakeQemu* fake = nullptr;
        FakeQemu qemu(
            "paused",
            [&, to = std::string(state), event = std::string(name)](
                const std::string& command, int time,
                const Json& id) -> std::optional<std::string> {
                if (command != "query-status" || time != 1) return std::nullopt;
                fake->set_state(to);
                return FakeQemu::answer(id, {{"status", "paused"}}) + FakeQemu::event(event);
            });
        fake = &qemu;
        Given given(qemu);
        const GiveBackResult left = must(given.back());
        CHECK(left.guest == GivenBack::kLeft);
        CHECK(left.state == state);
        CHECK(qemu.count("cont") == 0);
    }
}

TEST_CASE("a handover that completes while the fence is raised is found by the second look") {
    FakeQemu* fake = nullptr;
    FakeQemu qemu(
        "paused",
        [&](const std::string& command, int time, const Json&) -> std::optional<std::string> {
            if (command == "migrate-set-capabilities" && time == 1) {
                fake->set_state("postmigrate");
                fake->set_migration(whole_migration("completed"));
            }
            return std::nullopt;
        });
    fake = &qemu;
    Given given(qemu);
    CHECK(must(given.back()).guest == GivenBack::kElsewhere);
    CHECK(qemu.count("cont") == 0);
    CHECK_FALSE(qemu.fence_is_up());
}

TEST_CASE("a cont that QEMU refuses for a moment is tried again, after another look") {
    FakeQemu qemu(
        "paused",
        [](const std::string& command, int time, const Json& id) -> std::optional<std::string> {
            if (command != "cont" || time > 2) return std::nullopt;
            return FakeQemu::refusal(id);
        });
    Given given(qemu);
    CHECK(must(given.back(kLong)).guest == GivenBack::kRuns);
    CHECK(qemu.count("cont") == 3);
    CHECK(qemu.count("query-status") >= 4);
}

TEST_CASE("a cont that QEMU refuses for good is an error in QEMU's own words") {
    FakeQemu qemu(
        "paused",
        [](const std::string& command, int, const Json& id) -> std::optional<std::string> {
            if (command != "cont") return std::nullopt;
            return FakeQemu::refusal(id);
        });
    Given given(qemu);
    const auto refused = given.back();
    CHECK_THAT(message_of(refused), Contains("not now"));
    CHECK(refused.error().kind() == ErrorKind::kPeer);
    CHECK_FALSE(qemu.fence_is_up());
}

TEST_CASE("a connection that ends at any question is an error, and no cont is sent for it") {
    for (const char* command : {"query-migrate", "query-status", "query-migrate-capabilities",
                                "migrate-set-capabilities", "cont"}) {
        INFO(command);
        bool hangs_up = false;
        std::mutex mutex;
        FakeQemu qemu("paused",
                      [&](const std::string& now, int, const Json&) -> std::optional<std::string> {
                          const std::scoped_lock lock(mutex);
                          if (now != command || !hangs_up) return std::nullopt;
                          return std::string(FakeQemu::kHangUp);
                      });
        Given given(qemu);
        {
            const std::scoped_lock lock(mutex);
            hangs_up = true;
        }
        const auto lost = given.back();
        REQUIRE_FALSE(lost);
        CHECK(lost.error().kind() == ErrorKind::kLostConnection);
        CHECK(qemu.count("cont") == (std::string(command) == "cont" ? 1 : 0));
        // On a new connection it goes on.
        {
            const std::scoped_lock lock(mutex);
            hangs_up = false;
        }
        given.client = must(qmp::Client::connect(qemu.address(), kLong, {}));
        CHECK(must(give_back(*given.client, given.held, &given.watch, kShort)).guest ==
              GivenBack::kRuns);
    }
}

// Answers that are none, to the first question of that name after the watch began.
std::vector<std::string> wrong_answers(const Json& id) {
    return {FakeQemu::answer(id, 5),
            FakeQemu::answer(id, "paused"),
            FakeQemu::answer(id, Json::array()),
            FakeQemu::answer(id, nullptr),
            FakeQemu::answer(id, {{"status", 5}}),
            FakeQemu::answer(id, {{"status", nullptr}}),
            FakeQemu::answer(id, {{"status", Json::array({"paused"})}}),
            FakeQemu::line({{"id", id}}),
            FakeQemu::line({{"return", {{"status", "paused"}}}}),
            FakeQemu::line({{"return", {{"status", "paused"}}}, {"id", "1"}}),
            FakeQemu::line({{"return", {{"status", "paused"}}}, {"id", 1'000'000}}),
            FakeQemu::line({{"error", 5}, {"id", id}}),
            "5\r\n",
            "{]\r\n",
            std::string("\0\xff\n", 3)};
}

TEST_CASE("a malformed answer is an error, and no cont follows it") {
    const std::size_t count = wrong_answers(1).size();
    for (const char* question : {"query-status", "query-migrate"}) {
        for (std::size_t i = 0; i < count; ++i) {
            INFO(question << " " << wrong_answers(1)[i]);
            // The first query-migrate is the one before the guest was stopped.
            const int from = std::string(question) == "query-migrate" ? 2 : 1;
            FakeQemu qemu("paused",
                          [&](const std::string& command, int time,
                              const Json& id) -> std::optional<std::string> {
                              if (command != question || time < from) return std::nullopt;
                              return wrong_answers(id)[i];
                          });
            Given given(qemu);
            CHECK_FALSE(given.back());
            CHECK(qemu.count("cont") == 0);
            CHECK(qemu.state() == "paused");
        }
    }
}

TEST_CASE("a QEMU that does not answer is an error after its time, and no cont is sent") {
    FakeQemu qemu("paused",
                  [](const std::string& command, int, const Json&) -> std::optional<std::string> {
                      if (command != "query-status") return std::nullopt;
                      return std::string();
                  });
    Given given(qemu);
    const auto silent = given.back();
    REQUIRE_FALSE(silent);
    CHECK(silent.error().kind() == ErrorKind::kTimeout);
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE("a guardian decides as its migration would: by the state, without events") {
    for (const auto& [state, runs] :
         {std::pair{"paused", true}, std::pair{"guest-panicked", false},
          std::pair{"shutdown", false}, std::pair{"io-error", false}, std::pair{"prelaunch", false},
          std::pair{"suspended", false}}) {
        INFO(state);
        FakeQemu qemu(state);
        const Held held{.stopped = true, .before = "none 0 0 0 0 0"};
        const PutRight done =
            must(put_qemu_right(qemu.address(), held, {}, [](milliseconds) { return false; }));
        CHECK((done.guest.guest == GivenBack::kRuns) == runs);
        CHECK(qemu.count("cont") == (runs ? 1 : 0));
    }
}

TEST_CASE("a guardian tries again after a connection that ended, for as long as QEMU stays") {
    FakeQemu qemu(
        "paused",
        [](const std::string& command, int time, const Json&) -> std::optional<std::string> {
            if (command != "query-status" || time > 3) return std::nullopt;
            return std::string(FakeQemu::kHangUp);
        });
    const Held held{.stopped = true, .before = "none 0 0 0 0 0"};
    const PutRight done =
        must(put_qemu_right(qemu.address(), held, {}, [](milliseconds) { return true; }));
    CHECK(done.guest.guest == GivenBack::kRuns);
    CHECK(qemu.count("cont") == 1);
    FakeQemu gone("paused",
                  [](const std::string& command, int, const Json&) -> std::optional<std::string> {
                      if (command != "query-status") return std::nullopt;
                      return std::string(FakeQemu::kHangUp);
                  });
    int turns = 0;
    CHECK_FALSE(
        put_qemu_right(gone.address(), held, {}, [&](milliseconds) { return ++turns < 3; }));
    CHECK(gone.count("cont") == 0);
}

}  // namespace
}  // namespace migrate::guest
