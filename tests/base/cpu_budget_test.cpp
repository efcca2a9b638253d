// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_budget.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "base/own_cpu_time.hpp"
#include "catch.hpp"

namespace migrate {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Uses CPU time on the calling thread.
void burn(milliseconds time) {
    const nanoseconds end = own_cpu_time() + time;
    while (own_cpu_time() < end) {
    }
}

TEST_CASE("threads that pace themselves keep the budget together") {
    CpuBudget budget(0.05);
    budget.begin();
    std::vector<std::jthread> threads;
    const auto until = CpuBudget::Clock::now() + milliseconds(1500);
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            while (CpuBudget::Clock::now() < until) {
                burn(milliseconds(1));
                CHECK(budget.pace({}));
            }
        });
    }
    threads.clear();
    budget.lift();
    const CpuBudget::Figures figures = budget.figures();
    CHECK(figures.cpus_allowed == 0.05);
    // 3 ms of work at a time, and a burst of 2.5 ms, in 1.5 s.
    CHECK(figures.cpus_used < 0.05 * 1.25);
    CHECK(figures.cpus_used > 0);
    CHECK(figures.waited.count() > 0);
}

// A budget with clocks in the test's hands.
struct Clocks {
    std::atomic<std::int64_t> now_ns{1};
    std::atomic<std::int64_t> used_ns{0};
    CpuBudget budget{1.0, [this] { return nanoseconds(used_ns.load()); },
                     [this] { return CpuBudget::Clock::time_point(nanoseconds(now_ns.load())); }};

    void pass(milliseconds time) { now_ns += nanoseconds(time).count(); }
    void use(milliseconds time) { used_ns += nanoseconds(time).count(); }
};

TEST_CASE("nothing waits within the budget, before it begins, or without one") {
    Clocks clocks;
    clocks.use(milliseconds(1000));
    CHECK(clocks.budget.pace({}));
    clocks.budget.begin();
    for (int i = 0; i < 100; ++i) {
        clocks.use(milliseconds(9));
        clocks.pass(milliseconds(10));
        CHECK(clocks.budget.pace({}));
    }
    CHECK(clocks.budget.figures().waited.count() == 0);
    CHECK(clocks.budget.figures().cpus_used == Approx(0.9));
    CpuBudget none(0);
    none.begin();
    burn(milliseconds(5));
    CHECK(none.pace({}));
    none.lift();
    CHECK(none.figures().cpus_used > 0);
}

TEST_CASE("time that was not used is kept for a short burst only") {
    Clocks clocks;
    clocks.budget.begin();
    clocks.pass(milliseconds(10'000));
    clocks.use(milliseconds(45));
    CHECK(clocks.budget.pace({}));
    clocks.use(milliseconds(1000));
    // More than the burst: it waits, until this thread lifts the budget.
    std::atomic<bool> returned = false;
    std::jthread waiting([&] {
        CHECK(clocks.budget.pace({}));
        returned = true;
    });
    CHECK_FALSE(returned);
    clocks.budget.lift();
    waiting.join();
    CHECK(returned);
    CHECK(clocks.budget.pace({}));
}

TEST_CASE("a stop ends the wait for the budget") {
    Clocks clocks;
    clocks.budget.begin();
    clocks.use(milliseconds(1000));
    std::stop_source stop;
    std::jthread waiting([&] { CHECK_FALSE(clocks.budget.pace(stop.get_token())); });
    stop.request_stop();
    waiting.join();
    CHECK_FALSE(clocks.budget.pace(stop.get_token()));
}

TEST_CASE("a piece of work is let through in time, whatever was used") {
    CpuBudget budget(0.001);
    budget.begin();
    burn(milliseconds(50));  // 50 s of this budget
    const auto began = CpuBudget::Clock::now();
    CHECK(budget.pace({}));
    const auto waited = CpuBudget::Clock::now() - began;
    CHECK(waited >= CpuBudget::kLongestWait);
    CHECK(waited < CpuBudget::kLongestWait * 20);
}

TEST_CASE("the figures do not change after the budget was lifted") {
    Clocks clocks;
    clocks.budget.begin();
    clocks.use(milliseconds(30));
    clocks.pass(milliseconds(100));
    clocks.budget.lift();
    clocks.use(milliseconds(1000));
    clocks.pass(milliseconds(100));
    CHECK(clocks.budget.figures().cpus_used == Approx(0.3));
}

}  // namespace
}  // namespace migrate
