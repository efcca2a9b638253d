// SPDX-License-Identifier: Apache-2.0
#include "engine/send/zero_copy_choice.hpp"

#include "catch.hpp"

namespace migrate::engine {
namespace {

ZeroCopyFacts mapped_and_remote() {
    return {.peer_is_local = false, .sends_copies = false, .in_place = {true, true}, .refused = {}};
}

TEST_CASE("zero-copy send is used for mapped memory to another host, with on and with auto") {
    for (const AutoOnOff option : {AutoOnOff::kAuto, AutoOnOff::kOn}) {
        const ZeroCopyChoice choice = choose_zero_copy(option, mapped_and_remote());
        CHECK(choice.used);
        CHECK(choice.reason.empty());
    }
    CHECK_FALSE(choose_zero_copy(AutoOnOff::kOff, mapped_and_remote()).used);
}

TEST_CASE("auto leaves zero-copy send off within a host, and on tries it there") {
    ZeroCopyFacts facts = mapped_and_remote();
    facts.peer_is_local = true;
    const ZeroCopyChoice choice = choose_zero_copy(AutoOnOff::kAuto, facts);
    CHECK_FALSE(choice.used);
    CHECK(choice.reason == "the receiver is on this host, where the kernel copies anyway");
    CHECK(choose_zero_copy(AutoOnOff::kOn, facts).used);
}

TEST_CASE("zero-copy send needs memory that is sent from where it is, and a connection for it") {
    for (const AutoOnOff option : {AutoOnOff::kAuto, AutoOnOff::kOn}) {
        ZeroCopyFacts copies = mapped_and_remote();
        copies.sends_copies = true;
        CHECK_THAT(choose_zero_copy(option, copies).reason, Catch::Matchers::Contains("hash"));
        ZeroCopyFacts checked = mapped_and_remote();
        checked.needs_copies = true;
        CHECK_THAT(choose_zero_copy(option, checked).reason,
                   Catch::Matchers::Contains("packet-checksum=on"));
        ZeroCopyFacts staged = mapped_and_remote();
        staged.in_place = {false, false};
        CHECK_THAT(choose_zero_copy(option, staged).reason, Catch::Matchers::Contains("buffer"));
        ZeroCopyFacts some = mapped_and_remote();
        some.in_place = {false, true};
        CHECK(choose_zero_copy(option, some).used);
        ZeroCopyFacts refused = mapped_and_remote();
        refused.refused = "it is encrypted";
        CHECK(choose_zero_copy(option, refused).reason == "it is encrypted");
    }
}

}  // namespace
}  // namespace migrate::engine
