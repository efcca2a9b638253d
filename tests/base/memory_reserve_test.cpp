#include "base/memory_reserve.hpp"

#include <new>

#include "catch.hpp"

using namespace migrate;

TEST_CASE("the first allocation that fails gets the reserve, a second one fails") {
    keep_memory_reserve();
    CHECK_FALSE(memory_reserve_spent());
    const std::new_handler handler = std::get_new_handler();
    REQUIRE(handler != nullptr);
    // As operator new calls it: it returns if another try may succeed.
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
