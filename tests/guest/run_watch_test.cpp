// SPDX-License-Identifier: Apache-2.0
// QEMU's events show whether a guest stood still.
#include "guest/qemu/run_watch.hpp"

#include "tests/catch.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;

qmp::Json event(const char* name, qmp::Json data = qmp::Json::object()) {
    return {{"event", name}, {"data", std::move(data)}};
}

TEST_CASE("every event after which a paused guest is another one is a sign, by its name") {
    for (const char* name :
         {"RESUME", "RESET", "SHUTDOWN", "POWERDOWN", "SUSPEND", "SUSPEND_DISK", "WAKEUP",
          "GUEST_PANICKED", "GUEST_CRASHLOADED", "GUEST_PVSHUTDOWN", "WATCHDOG", "BLOCK_IO_ERROR",
          "DEVICE_DELETED", "MEMORY_DEVICE_SIZE_CHANGE", "MEMORY_FAILURE"}) {
        INFO(name);
        RunWatch watch;
        watch.begin();
        CHECK(watch.sign().empty());
        watch.see(event(name));
        CHECK_THAT(watch.sign(), Contains(std::string("event ") + name));
        CHECK(watch.ran() == (std::string(name) == "RESUME"));
        CHECK(watch.was_reset() == (std::string(name) == "RESET"));
        CHECK(watch.take_unplugged() == (std::string(name) == "DEVICE_DELETED"));
        CHECK_FALSE(watch.take_unplugged());
    }
}

TEST_CASE("an event after which a running guest cannot be moved is kept, and the others are none") {
    for (const char* name : {"RESET", "SHUTDOWN", "GUEST_PANICKED", "GUEST_CRASHLOADED",
                             "GUEST_PVSHUTDOWN", "WATCHDOG", "MEMORY_FAILURE"}) {
        INFO(name);
        RunWatch watch;
        watch.see(event("POWERDOWN"));
        watch.see(event("RESUME"));
        CHECK(watch.upset().empty());
        watch.see(event(name));
        watch.see(event("SUSPEND"));
        CHECK_THAT(watch.upset(), Contains(std::string("event ") + name));
    }
}

TEST_CASE("events that change nothing are no sign") {
    RunWatch watch;
    watch.begin();
    for (const char* name : {"STOP", "MIGRATION", "MIGRATION_PASS", "RTC_CHANGE", "VNC_CONNECTED",
                             "NIC_RX_FILTER_CHANGED", "BLOCK_JOB_COMPLETED", ""}) {
        watch.see(event(name));
    }
    CHECK(watch.sign().empty());
    CHECK_FALSE(watch.ran());
}

TEST_CASE("an event of an unknown shape is none") {
    RunWatch watch;
    watch.begin();
    watch.see(qmp::Json::object());
    watch.see({{"event", 5}});
    watch.see({{"event", nullptr}});
    watch.see({{"event", {{"event", "RESUME"}}}});
    watch.see({{"event", "MIGRATION"}, {"data", 7}});
    watch.see({{"event", "MIGRATION"}, {"data", {{"status", 7}}}});
    CHECK(watch.sign().empty());
}

TEST_CASE("the first sign is kept, and a new beginning forgets it") {
    RunWatch watch;
    watch.see(event("SHUTDOWN"));
    watch.begin();
    CHECK(watch.sign().empty());
    // begin() does not forget that the guest was shut down.
    CHECK_THAT(watch.upset(), Contains("SHUTDOWN"));
    watch.see(event("RESET"));
    watch.see(event("RESUME"));
    CHECK_THAT(watch.sign(), Contains("RESET"));
    CHECK(watch.ran());
    watch.begin();
    CHECK(watch.sign().empty());
    CHECK_FALSE(watch.ran());
    CHECK_FALSE(watch.was_reset());
}

TEST_CASE("events before our own stop are no sign that the guest ran, events after it are") {
    RunWatch watch;
    watch.begin_at_stop();
    watch.see(event("RESUME"));
    watch.see(event("RESET"));
    CHECK_FALSE(watch.has_stopped());
    watch.see(event("STOP"));
    CHECK(watch.has_stopped());
    CHECK(watch.sign().empty());
    CHECK_FALSE(watch.ran());
    watch.see(event("RESUME"));
    watch.see(event("STOP"));
    CHECK_THAT(watch.sign(), Contains("RESUME"));
    CHECK(watch.ran());
}

TEST_CASE("a broken connection is a sign, since what happened meanwhile is not known") {
    RunWatch watch;
    watch.begin_at_stop();
    watch.miss();
    CHECK_THAT(watch.sign(), Contains("connection"));
    // The stop may have been missed, too: nothing waits for it any more.
    watch.see(event("STOP"));
    CHECK_FALSE(watch.sign().empty());
}

TEST_CASE("a migration is noticed until a new beginning") {
    RunWatch watch;
    watch.see(event("MIGRATION", {{"status", "setup"}}));
    CHECK(watch.migrated());
    watch.begin();
    CHECK_FALSE(watch.migrated());
    watch.see(event("STOP"));
    CHECK_FALSE(watch.migrated());
    watch.see(event("MIGRATION", {{"status", "completed"}}));
    CHECK(watch.migrated());
}

TEST_CASE("the stop at a migration's end is told from every other") {
    RunWatch watch;
    watch.begin();
    watch.see(event("RESUME"));
    for (const char* status : {"setup", "active", "pre-switchover", "device"}) {
        watch.see(event("MIGRATION", {{"status", status}}));
    }
    watch.see(event("STOP"));
    CHECK(watch.stopped_by_migration());
    watch.see(event("RESUME"));
    CHECK_FALSE(watch.stopped_by_migration());
    for (const char* status : {"completed", "failed", "cancelled"}) {
        watch.see(event("MIGRATION", {{"status", "active"}}));
        watch.see(event("MIGRATION", {{"status", status}}));
        watch.see(event("STOP"));
        INFO(status);
        CHECK_FALSE(watch.stopped_by_migration());
    }
}

}  // namespace
}  // namespace migrate::guest
