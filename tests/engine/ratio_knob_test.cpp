// SPDX-License-Identifier: Apache-2.0
#include "engine/send/ratio_knob.hpp"

#include "catch.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("the first `ratio` pages of every 100 are forced, however the calls group them") {
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
