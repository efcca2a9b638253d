// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_state.hpp"

#include <random>

#include "base/little_endian.hpp"
#include "catch.hpp"
#include "guest/guest.hpp"
#include "tests/guest/running_machine.hpp"

namespace migrate::guest {
namespace {

WorkloadState example() {
    WorkloadState state;
    state.spec.size_bytes = 4 * kMiB;
    state.spec.working_set_bytes = 3 * kMiB;
    state.spec.rate_mib_s = 50;
    state.spec.pattern = Pattern::kHotSpot;
    state.spec.fill = Fill::kAll;
    state.spec.threads = 3;
    state.spec.seed = 0x0123456789ABCDEFU;
    state.run_time_us = 5'000'000;
    state.longest_gap_us = 1234;
    state.vcpus = {{1000, 1'700'000'000'000'000}, {0, 0}, {kMaxWrites, 1'700'000'000'000'001}};
    return state;
}

TEST_CASE("a state is the same after the way over the wire, and small") {
    const WorkloadState state = example();
    const std::string bytes = encode_state(state);
    CHECK(bytes.size() <= kMaxStateBytes);
    CHECK(must(decode_state(bytes)) == state);
    WorkloadSpec largest = state.spec;
    largest.threads = kMaxVcpus;
    CHECK(encode_state(initial_state(largest)).size() <= kMaxStateBytes);
}

TEST_CASE("a state that ends early or late is refused") {
    const std::string bytes = encode_state(example());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto state = decode_state(bytes.substr(0, size));
        CHECK_FALSE(state);
        CHECK(state.error().kind() == ErrorKind::kProtocol);
    }
    CHECK_THAT(message_of(decode_state(bytes + '\0')), Catch::Contains("saved state"));
}

TEST_CASE("a state with values beyond their limits is refused by name") {
    struct Bad {
        std::size_t offset;
        std::uint64_t value;
        const char* named;
    };
    constexpr std::size_t kThreads = 8;
    constexpr std::size_t kSize = 16;
    constexpr std::size_t kWorkingSet = 24;
    for (const Bad& bad :
         {Bad{kThreads, 0, "threads=0"}, Bad{kThreads, 65, "65 threads"},
          Bad{kThreads, 0x1'0000'0003, "threads"}, Bad{kThreads, 64, "with 64 threads"},
          Bad{kSize, 0, "page size"}, Bad{kSize, 4 * kMiB + 1, "page size"},
          Bad{kSize, kMiB, "working-set"}, Bad{kWorkingSet, 0, "working-set=0"},
          Bad{kWorkingSet, 5 * kMiB, "working-set"}, Bad{kWorkingSet, 2 * kPageSize, "page each"},
          Bad{32, kMaxRateMibS + 1, "rate"}, Bad{48, kMaxStateUs + 1, "run time"},
          Bad{56, UINT64_MAX, "longest gap"}, Bad{64, kMaxWrites + 1, "writes of vCPU 0"},
          Bad{72, UINT64_MAX, "last write of vCPU 0"}, Bad{0, 0, "MWLD"},
          Bad{0, 0x0000'0002'444C'574D, "version 2"}, Bad{0, 0x0003'0001'444C'574D, "pattern"},
          Bad{0, 0x0300'0001'444C'574D, "fill"}}) {
        std::string bytes = encode_state(example());
        store_le(reinterpret_cast<std::byte*>(bytes.data()) + bad.offset, bad.value);
        CAPTURE(bad.offset, bad.value);
        CHECK_THAT(message_of(decode_state(bytes)), Catch::Contains(bad.named));
    }
}

TEST_CASE(
    "a state with any bit turned over is refused, or is a guest that can be checked and run") {
    const std::string good = encode_state(example());
    const Copy memory(std::vector<std::byte>(4 * kMiB));
    unsigned accepted = 0;
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::string bytes = good;
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
        const auto guest = load_guest("workload", bytes, {memory.bytes()});
        if (!guest) continue;
        ++accepted;
        // A fill of zeros is no fill: something is wrong, whatever the guest claims to have been.
        CHECK_FALSE((*guest)->check());
        must((*guest)->resume());
        must((*guest)->pause());
    }
    CHECK(accepted > 0);
}

TEST_CASE("a state of random bytes is refused without side effects") {
    constexpr unsigned kSeed = 20;
    CAPTURE(kSeed);
    std::mt19937_64 random(kSeed);
    const std::string good = encode_state(example());
    const Copy memory(std::vector<std::byte>(4 * kMiB));
    for (int i = 0; i < 20000; ++i) {
        std::string bytes = good;
        const std::size_t from = random() % bytes.size();
        for (std::size_t at = from; at < std::min(bytes.size(), from + 1 + random() % 16); ++at) {
            bytes[at] = static_cast<char>(random());
        }
        const auto state = decode_state(bytes);
        if (state) must(check_limits(state->spec));
    }
}

TEST_CASE("a clock that was ahead at the source is a gap of zero, and one of long ago a long one") {
    WorkloadState state = example();
    state.spec.threads = 1;
    state.spec.fill = Fill::kNone;
    state.longest_gap_us = 0;
    state.vcpus = {{1, 3'900'000'000'000'000}};
    const Copy memory(std::vector<std::byte>(4 * kMiB));
    const auto gap_of = [&] {
        const auto guest = must(load_guest("workload", encode_state(state), {memory.bytes()}));
        must(guest->resume());
        let_it_write(*guest, 1);
        must(guest->pause());
        must(decode_state(must(guest->save_state())));
        return guest->activity().longest_gap;
    };
    CHECK(gap_of() < std::chrono::minutes(1));
    state.vcpus[0].last_write_us = 0;
    CHECK(gap_of() > std::chrono::hours(24));
}

}  // namespace
}  // namespace migrate::guest
