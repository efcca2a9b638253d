// SPDX-License-Identifier: Apache-2.0
#include "guest/workload.hpp"

#include <cstring>
#include <string>

#include "catch.hpp"
#include "tests/guest/running_machine.hpp"

namespace migrate::guest {
namespace {

constexpr std::uint64_t kPages = 4 * kMiB / kPageSize;

Machine paused_machine(const std::string& words, std::uint64_t pages = 3 * kPages) {
    Machine machine = must(open_machine("workload:" + words));
    let_it_write(*machine.guest, pages);
    must(machine.guest->pause());
    return machine;
}

TEST_CASE("a paused workload's memory is what its state says, for every pattern, memory and fill") {
    for (const std::string pattern : {"sequential", "uniform", "hot-spot"}) {
        for (const std::string memory : {"anon", "memfd", "anon,huge=on"}) {
            for (const std::string fill : {"working-set", "all", "none"}) {
                const std::string words =
                    "4M,rate=0,working-set=3M,threads=3,warm-up=0,seed=7,pattern=" + pattern +
                    ",memory=" + memory + ",fill=" + fill;
                INFO(words);
                const Machine machine = paused_machine(words, 500);
                must(machine.guest->check());
                must(machine.guest->resume());
                let_it_write(*machine.guest, 500);
                must(machine.guest->pause());
                must(machine.guest->check());
            }
        }
    }
}

TEST_CASE("huge pages of the host's pool are a guest's memory, or an error where there are none") {
    const auto machine = open_machine("workload:4M,memory=hugetlb,warm-up=0");
    if (!machine) {
        CHECK_THAT(machine.error().message(),
                   Catch::Contains("huge page") || Catch::Contains("2 MiB pages"));
        WARN("skipped: " << machine.error().message());
        return;
    }
    let_it_write(*machine->guest, 100);
    must(machine->guest->pause());
    must(machine->guest->check());
}

TEST_CASE("a page that holds another content than its last write is named with both") {
    const Machine machine = paused_machine("4M,rate=0,warm-up=0,pattern=sequential");
    const auto memory = memory_of(machine);
    const Copy older(memory);
    must(machine.guest->resume());
    let_it_write(*machine.guest, 2 * kPages);
    must(machine.guest->pause());
    must(machine.guest->check());
    const auto page = page_of(memory, 711);
    const Copy right(page);
    const auto error = [&] { return message_of(machine.guest->check()); };
    const auto number = [](std::span<const std::byte> of) {
        std::uint64_t value = 0;
        std::memcpy(&value, of.data() + 16, sizeof value);
        return value;
    };
    const std::string its_last = fmt::format("its last write was {}", number(right.bytes()));

    for (const std::size_t at : {0U, 8U, 16U, 24U, 2048U, 4095U}) {
        page[at] ^= std::byte{1};
        CHECK_THAT(error(), Catch::Contains("page 711 is torn") && Catch::Contains(its_last));
        page[at] ^= std::byte{1};
    }
    const auto old_page = page_of(older.bytes(), 711);
    std::copy(old_page.begin(), old_page.end(), page.begin());
    CHECK(error() == fmt::format("page 711 holds write {}, {}", number(old_page), its_last));
    std::copy_n(right.bytes().begin(), 2048, page.begin());
    CHECK_THAT(error(), Catch::Contains("page 711 is torn"));
    std::memset(page.data(), 0, page.size());
    CHECK_THAT(error(), Catch::Contains("page 711 is zero, its last write was"));
    const auto other_page = page_of(memory, 712);
    std::copy(other_page.begin(), other_page.end(), page.begin());
    CHECK_THAT(error(), Catch::Contains("page 711 holds page 712"));
    page_of(memory, 90)[5] ^= std::byte{0x80};
    CHECK_THAT(error(), Catch::Contains("page 90 is torn"));
    page_of(memory, 90)[5] ^= std::byte{0x80};
    std::copy(right.bytes().begin(), right.bytes().end(), page.begin());
    must(machine.guest->check());
}

TEST_CASE("a page that must be zero, and a fill that is gone, are found") {
    const Machine machine =
        paused_machine("4M,rate=0,working-set=8K,warm-up=0,fill=working-set", 10);
    const auto memory = memory_of(machine);
    page_of(memory, 1000)[17] = std::byte{1};
    CHECK(message_of(machine.guest->check()) == "page 1000 is not zero, it was never written");
    page_of(memory, 1000)[17] = std::byte{0};
    must(machine.guest->check());

    const Machine filled = paused_machine("4M,rate=0,working-set=8K,warm-up=0,fill=all", 10);
    const auto page = page_of(memory_of(filled), 1000);
    std::fill(page.begin(), page.end(), std::byte{0});
    CHECK_THAT(message_of(filled.guest->check()),
               Catch::Contains("page 1000 is zero") && Catch::Contains("first content"));
}

TEST_CASE("a check populates no page of the source") {
    for (const std::string memory : {"anon", "memfd"}) {
        const Machine machine =
            paused_machine("64M,rate=0,working-set=1M,warm-up=0,memory=" + memory, 10);
        must(machine.guest->check());
        std::vector<memory::PopulationExtent> extents;
        must(machine.memory->population(RegionId{0}, {0, 64 * kMiB / kPageSize}, extents));
        REQUIRE(extents.size() == 2);
        CHECK(extents[0].pages == PageRange{0, 256});
        CHECK_FALSE(extents[1].populated);
    }
}

TEST_CASE(
    "a workload goes on from its state in a copy of its memory, and both sides' writes count") {
    for (const std::string pattern : {"sequential", "uniform", "hot-spot"}) {
        const Machine machine =
            paused_machine("4M,rate=0,working-set=3M,threads=3,warm-up=0,pattern=" + pattern);
        const Copy copy(memory_of(machine));
        const auto guest =
            must(load_guest("workload", must(machine.guest->save_state()), {copy.bytes()}));
        CHECK_FALSE(guest->running());
        must(guest->check());
        const Activity before = machine.guest->activity();
        CHECK(guest->activity().bytes_written == before.bytes_written);
        CHECK(guest->activity().longest_gap == before.longest_gap);
        CHECK(guest->activity().run_time == before.run_time);
        must(guest->resume());
        let_it_write(*guest, 500);
        must(guest->pause());
        CHECK(guest->activity().bytes_written > before.bytes_written);
        CHECK(guest->activity().run_time > before.run_time);
        must(guest->check());
        // The source was left alone, and goes on by itself as after a migration that failed.
        must(machine.guest->check());
        must(machine.guest->resume());
        let_it_write(*machine.guest, 500);
        must(machine.guest->pause());
        must(machine.guest->check());
    }
}

TEST_CASE("the longest gap includes the way to the other host") {
    const Machine machine = paused_machine("4M,rate=0,warm-up=0");
    const Copy copy(memory_of(machine));
    const auto state = must(machine.guest->save_state());
    constexpr std::chrono::milliseconds kDown{30};
    std::this_thread::sleep_for(kDown);
    const auto guest = must(load_guest("workload", state, {copy.bytes()}));
    must(guest->resume());
    let_it_write(*guest, 1);
    CHECK(guest->activity().longest_gap >= kDown);
}

TEST_CASE("after a pause no page changes until the guest is resumed") {
    for (const std::string rate : {"0", "50"}) {
        const Machine machine = must(open_machine("workload:4M,threads=4,warm-up=0,rate=" + rate));
        for (int repeat = 0; repeat < 10; ++repeat) {
            let_it_write(*machine.guest, 1);
            must(machine.guest->pause());
            CHECK_FALSE(machine.guest->running());
            const std::string before = digest_of(memory_of(machine));
            const std::uint64_t written = machine.guest->activity().bytes_written;
            std::this_thread::sleep_for(std::chrono::milliseconds(15));
            CHECK(digest_of(memory_of(machine)) == before);
            CHECK(machine.guest->activity().bytes_written == written);
            must(machine.guest->pause());
            must(machine.guest->resume());
            must(machine.guest->resume());
            CHECK(machine.guest->running());
        }
    }
}

TEST_CASE("a workload never writes more than its rate allows, through pauses and throttles") {
    const auto start = Clock::now();
    const Machine machine = must(open_machine("workload:4M,rate=40,threads=4,warm-up=0"));
    for (const unsigned percent : {0U, 50U, 99U, 0U}) {
        must(machine.guest->throttle(percent));
        let_it_write(*machine.guest, 100);
        must(machine.guest->pause());
        const std::uint64_t written = machine.guest->activity().bytes_written;
        const std::chrono::duration<double> time = Clock::now() - start;
        const std::chrono::duration<double> slack = Pace::kCatchUp + Pace::kTick;
        CHECK(static_cast<double>(written) <=
              (time + slack).count() * 40 * static_cast<double>(kMiB) + 4 * kPageSize);
        must(machine.guest->resume());
    }
}

TEST_CASE("a throttle slows the guest, and none lets it run again") {
    const Machine machine = must(open_machine("workload:4M,rate=0,warm-up=0"));
    const auto written_in = [&](std::chrono::milliseconds time) {
        const std::uint64_t before = machine.guest->activity().bytes_written;
        std::this_thread::sleep_for(time);
        return machine.guest->activity().bytes_written - before;
    };
    constexpr std::chrono::milliseconds kTime{200};
    const std::uint64_t free = written_in(kTime);
    must(machine.guest->throttle(99));
    const std::uint64_t throttled = written_in(kTime);
    CHECK(throttled < free / 4);
    must(machine.guest->throttle(0));
    CHECK(written_in(kTime) > throttled);
    CHECK_FALSE(machine.guest->throttle(100));
    must(machine.guest->pause());
    must(machine.guest->check());
}

TEST_CASE("a vCPU that has made all the writes that a state may claim makes no more") {
    WorkloadState state =
        initial_state({.size_bytes = 4 * kMiB, .working_set_bytes = 4 * kMiB, .threads = 2});
    state.vcpus[0].writes = kMaxWrites;
    const Machine host = paused_machine("4M,warm-up=0", 1);
    const auto guest = must(load_guest(kWorkloadKind, encode_state(state), {memory_of(host)}));
    must(guest->resume());
    let_it_write(*guest, 100);
    must(guest->pause());
    const WorkloadState saved = must(decode_state(must(guest->save_state())));
    CHECK(saved.vcpus[0].writes == kMaxWrites);
    CHECK(saved.vcpus[1].writes >= 100);
}

TEST_CASE("a guest that runs is neither saved nor checked") {
    const Machine machine = must(open_machine("workload:1M,warm-up=0"));
    CHECK_FALSE(machine.guest->save_state());
    CHECK_FALSE(machine.guest->check());
}

TEST_CASE("a guest of more threads than CPUs ends whatever it is doing") {
    for (const std::string rate : {"0", "1"}) {
        const Machine machine = must(open_machine("workload:4M,threads=64,warm-up=0,rate=" + rate));
        must(machine.guest->throttle(50));
    }
    const Machine never_ran = paused_machine("4M,threads=64,warm-up=5ms", 1);
}

}  // namespace
}  // namespace migrate::guest
