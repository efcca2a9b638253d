#include "engine/send/ratio_knob.hpp"

#include "catch.hpp"

namespace migrate::engine {
namespace {

TEST_CASE(
    "of every running group of 100 pages the first `ratio` are forced, whatever the calls' "
    "grouping") {
    for (unsigned ratio = 0; ratio <= 100; ++ratio) {
        RatioKnob knob(ratio);
        CHECK(knob.active() == (ratio != 0));
        for (unsigned page = 0; page < 1000; ++page) {
            INFO("ratio " << ratio << ", page " << page);
            REQUIRE(knob.force_normal() == (page % 100 < ratio));
        }
    }
}

TEST_CASE("a knob that is off forces nothing") {
    RatioKnob knob(std::nullopt);
    CHECK_FALSE(knob.active());
    for (int page = 0; page < 300; ++page) CHECK_FALSE(knob.force_normal());
}

}  // namespace
}  // namespace migrate::engine
