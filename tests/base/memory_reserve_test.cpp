// SPDX-License-Identifier: Apache-2.0
#include "base/memory_reserve.hpp"

#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "catch.hpp"

using namespace migrate;

TEST_CASE("the first allocation that fails gets the reserve, a second one fails") {
    keep_memory_reserve();
    CHECK_FALSE(memory_reserve_spent());
    const std::new_handler handler = std::get_new_handler();
    REQUIRE(handler != nullptr);
    // Operator new calls it in the same way: it returns if another try may succeed.
    handler();
    CHECK(memory_reserve_spent());
    CHECK_THROWS_AS(handler(), std::bad_alloc);
    keep_memory_reserve();
    CHECK_FALSE(memory_reserve_spent());
    // There is one reserve, however often it is asked for.
    keep_memory_reserve();
    handler();
    CHECK_THROWS_AS(handler(), std::bad_alloc);
    keep_memory_reserve();
}

TEST_CASE("the handler that a program installed before is called once the reserve is gone") {
    static int called = 0;
    std::set_new_handler([] { ++called; });
    keep_memory_reserve();
    const std::new_handler handler = std::get_new_handler();
    handler();
    CHECK(called == 0);
    // It may have made room: the allocation is tried again.
    handler();
    CHECK(called == 1);
    std::set_new_handler(nullptr);
    keep_memory_reserve();
    handler();
    CHECK_THROWS_AS(handler(), std::bad_alloc);
    keep_memory_reserve();
}

TEST_CASE("each of several threads that run out of memory at once tries again once") {
    for (int round = 0; round < 200; ++round) {
        keep_memory_reserve();
        const std::new_handler handler = std::get_new_handler();
        std::atomic<int> arrived{0};
        std::atomic<int> tried_again{0};
        std::atomic<int> failed{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] {
                arrived.fetch_add(1);
                while (arrived.load() < 4) std::this_thread::yield();
                try {
                    handler();
                    tried_again.fetch_add(1);
                    handler();
                } catch (const std::bad_alloc&) {
                    failed.fetch_add(1);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        REQUIRE(tried_again == 4);
        REQUIRE(failed == 4);
        REQUIRE(memory_reserve_spent());
    }
    keep_memory_reserve();
}
