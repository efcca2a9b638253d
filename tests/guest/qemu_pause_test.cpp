// SPDX-License-Identifier: Apache-2.0
// The pause of a QEMU's guest: what is asked before it, and what another client does at that
// moment.
#include "guest/fake_guests.hpp"
#include "guest/fake_qemu.hpp"
#include "guest/qemu/qemu_guest.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("a pause that was prepared asks nothing before the guest is stopped") {
    FakeQemu qemu;
    const auto guest = block_guest_of(qemu);
    must(guest->prepare_pause(Saving::kLater));
    const auto asked = [&qemu] {
        return qemu.count("query-migrate") + qemu.count("query-named-block-nodes") +
               qemu.count("query-migrate-capabilities") + qemu.count("query-memdev");
    };
    const int before = asked();
    CHECK(qemu.count("query-status") == 1);
    CHECK(qemu.count("stop") == 0);
    must(guest->pause());
    CHECK(asked() == before);
    CHECK(qemu.count("query-status") == 2);
    must(guest->resume());
    CHECK(qemu.state() == "running");
}

TEST_CASE("devices are saved behind the stop where that is wanted, from QEMU 10.0 on") {
    struct Expected {
        Saving saving;
        const char* version;
        int saves;  // before save_state() is called
    };
    for (const auto& [saving, version, saves] :
         {Expected{Saving::kAtOnce, R"("minor": 0, "major": 10)", 1},
          Expected{Saving::kLater, R"("minor": 0, "major": 10)", 0},
          Expected{Saving::kAtOnce, R"("minor": 2, "major": 9)", 0}}) {
        INFO(version << " " << saves);
        FakeQemu qemu;
        qemu.set_greeting(R"({"QMP": {"version": {"qemu": {"micro": 0, )" + std::string(version) +
                          "}}, \"capabilities\": []}}\r\n");
        const auto guest = block_guest_of(qemu);
        must(guest->prepare_pause(saving));
        must(guest->pause());
        must(guest->check_still());
        CHECK(qemu.count("xen-save-devices-state") == saves);
        CHECK(must(decode_qemu_state(must(guest->save_state()))).ran);
        CHECK(qemu.count("xen-save-devices-state") == 1);
        must(guest->resume());
        CHECK(qemu.state() == "running");
    }
}

TEST_CASE("a guest that another client stops just before our stop arrives paused") {
    FakeQemu qemu;
    const auto guest = block_guest_of(qemu);
    must(guest->prepare_pause(Saving::kLater));
    qemu.set_state("paused");
    must(guest->pause());
    CHECK_FALSE(must(decode_qemu_state(must(guest->save_state()))).ran);
    must(guest->check_still());
    must(guest->resume());
    CHECK(qemu.state() == "paused");
    CHECK(qemu.count("cont") == 0);
}

TEST_CASE("a guest that ends just before our stop ends the switchover by its state, and is left") {
    for (const char* state : {"shutdown", "guest-panicked", "io-error", "postmigrate"}) {
        INFO(state);
        FakeQemu qemu;
        const auto guest = block_guest_of(qemu);
        must(guest->prepare_pause(Saving::kLater));
        qemu.set_state(state);
        CHECK_THAT(message_of(guest->pause()), Contains(state));
        // One that was handed over must not run here.
        CHECK(static_cast<bool>(guest->resume()) == (std::string(state) != "postmigrate"));
        CHECK(qemu.count("cont") == 0);
        CHECK(qemu.state() == state);
    }
}

}  // namespace
}  // namespace migrate::guest
