// SPDX-License-Identifier: Apache-2.0
#include "guest/write_sequence.hpp"

#include <vector>

#include "catch.hpp"

namespace migrate::guest {
namespace {

WorkloadSpec spec_of(Pattern pattern, std::uint64_t pages, unsigned threads) {
    WorkloadSpec spec;
    spec.size_bytes = spec.working_set_bytes = pages * kPageSize;
    spec.pattern = pattern;
    spec.threads = threads;
    spec.seed = 42;
    return spec;
}

constexpr std::array kPatterns{Pattern::kSequential, Pattern::kUniform, Pattern::kHotSpot};

TEST_CASE("every page of the working set belongs to exactly one vCPU") {
    for (const std::uint64_t pages : {7U, 8U, 64U, 1001U}) {
        for (const unsigned threads : {1U, 3U, 7U}) {
            const WorkloadSpec spec = spec_of(Pattern::kUniform, pages, threads);
            std::vector<int> owners(pages);
            for (unsigned vcpu = 0; vcpu < threads; ++vcpu) {
                const WriteSequence sequence(spec, vcpu);
                for (std::uint64_t slot = 0; slot < sequence.slots(); ++slot) {
                    ++owners.at(sequence.page(slot));
                }
            }
            CHECK(owners == std::vector<int>(pages, 1));
        }
    }
}

TEST_CASE("going back from the newest write finds the same as going forward from the first") {
    for (const Pattern pattern : kPatterns) {
        for (const std::uint64_t pages : {1U, 2U, 9U, 500U}) {
            for (const std::uint64_t writes : {0U, 1U, 5U, 499U, 500U, 501U, 20000U}) {
                const WriteSequence sequence(spec_of(pattern, pages, 1), 0);
                std::vector<std::uint64_t> forward(pages);
                for (std::uint64_t n = 1; n <= writes; ++n) forward.at(sequence.slot(n)) = n;
                std::vector<std::uint64_t> last(pages);
                replay(sequence, writes, last);
                CAPTURE(static_cast<int>(pattern), pages, writes);
                REQUIRE(last == forward);
            }
        }
    }
}

TEST_CASE("going back takes no longer for a guest that ran for a year") {
    for (const Pattern pattern : kPatterns) {
        const WriteSequence sequence(spec_of(pattern, 10000, 1), 0);
        std::vector<std::uint64_t> last(10000);
        replay(sequence, std::uint64_t{1} << 45U, last);
        CHECK(*std::min_element(last.begin(), last.end()) > (std::uint64_t{1} << 45U) - 10'000'000);
    }
}

TEST_CASE("a hot spot gets nine of ten writes, and the rest of the working set the tenth") {
    const WriteSequence sequence(spec_of(Pattern::kHotSpot, 1000, 1), 0);
    constexpr std::uint64_t kWrites = 100000;
    std::uint64_t hot = 0;
    std::vector<std::uint64_t> count(1000);
    for (std::uint64_t n = 1; n <= kWrites; ++n) {
        const std::uint64_t slot = sequence.slot(n);
        hot += slot < 100 ? 1 : 0;
        ++count.at(slot);
    }
    CHECK(hot > kWrites * 89 / 100);
    CHECK(hot < kWrites * 91 / 100);
    CHECK(*std::min_element(count.begin(), count.end()) > 0);
}

TEST_CASE("no two vCPUs and no two seeds write in the same order") {
    WorkloadSpec spec = spec_of(Pattern::kUniform, 2000, 2);
    const auto first_writes = [&](unsigned vcpu) {
        std::vector<std::uint64_t> slots;
        for (std::uint64_t n = 1; n <= 16; ++n) slots.push_back(WriteSequence(spec, vcpu).slot(n));
        return slots;
    };
    const auto zero = first_writes(0);
    CHECK(zero != first_writes(1));
    spec.seed = 43;
    CHECK(zero != first_writes(0));
}

}  // namespace
}  // namespace migrate::guest
