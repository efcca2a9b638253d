// SPDX-License-Identifier: Apache-2.0
#include "guest/guest.hpp"

#include "catch.hpp"
#include "guest/workload_state.hpp"
#include "tests/guest/running_machine.hpp"

namespace migrate::guest {
namespace {

TEST_CASE("an unknown kind of source is a usage error that lists all kinds, the workload too") {
    const auto machine = open_machine("worklaod:1G");
    CHECK_THAT(message_of(machine), Catch::Contains("'worklaod:'") &&
                                        Catch::Contains("file:PATH, anon:SIZE, workload:SIZE, "));
    CHECK(machine.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("a source that is an image is a machine without a guest") {
    const Machine machine = must(open_machine("anon:1M"));
    CHECK(machine.guest == nullptr);
    CHECK(machine.memory->regions()[0].size_bytes == kMiB);
}

TEST_CASE("a workload is running when it is opened, and named by its words") {
    const Machine machine = must(open_machine("workload:1M,rate=10,warm-up=20"));
    CHECK(machine.guest->running());
    CHECK(machine.guest->kind() == "workload");
    CHECK(machine.warm_up == std::chrono::milliseconds(20));
    CHECK(machine.memory->description() == "workload:1M,rate=10,warm-up=20");
    CHECK(machine.memory->regions()[0].name == "ram");
}

TEST_CASE("a workload that does not fit this machine's memory is refused before it is filled") {
    CHECK_THAT(message_of(open_machine("workload:64T")), Catch::Contains("memory available"));
}

TEST_CASE("only a workload can be loaded, into one region of its size") {
    CHECK(can_run("workload"));
    CHECK_FALSE(can_run("qemu"));
    CHECK_FALSE(can_run(""));
    WorkloadSpec spec;
    spec.size_bytes = spec.working_set_bytes = kMiB;
    const std::string state = encode_state(initial_state(spec));
    const Copy copy(std::vector<std::byte>(2 * kMiB));
    const auto all = copy.bytes();
    const auto half = all.first(kMiB);
    must(load_guest("workload", state, {half}));
    CHECK_THAT(message_of(load_guest("qemu", state, {half})), Catch::Contains("'qemu'"));
    CHECK_THAT(message_of(load_guest("workload", state, {all})), Catch::Contains("2097152"));
    CHECK_THAT(message_of(load_guest("workload", state, {half, half})),
               Catch::Contains("2 regions"));
    CHECK_THAT(message_of(load_guest("workload", state, {})), Catch::Contains("0 regions"));
    CHECK_THAT(message_of(load_guest("workload", state, {half.first(0)})),
               Catch::Contains("0 bytes"));
}

}  // namespace
}  // namespace migrate::guest
