// SPDX-License-Identifier: Apache-2.0
#include "bench/statistics.hpp"

#include "bench/figures.hpp"
#include "bench/scenario_files.hpp"
#include "catch.hpp"

using namespace migrate::bench;

TEST_CASE("percentiles lie between the values by their distance") {
    CHECK(percentile({}, 50) == 0);
    CHECK(percentile({7}, 25) == 7);
    CHECK(percentile({3, 1, 2}, 0) == 1);
    CHECK(percentile({3, 1, 2}, 50) == 2);
    CHECK(percentile({3, 1, 2}, 100) == 3);
    CHECK(percentile({10, 20, 30, 40}, 25) == Approx(17.5));
    CHECK(percentile({10, 20, 30, 40}, 95) == Approx(38.5));
    CHECK(percentile({10, 20}, 200) == 20);
    CHECK(percentile({10, 20}, -1) == 10);
}

TEST_CASE("savings are of what was before") {
    CHECK(savings_percent(41922, 32568) == Approx(22.3).epsilon(0.01));
    CHECK(savings_percent(11154, 8700) == Approx(22.0).epsilon(0.01));
    CHECK(savings_percent(100, 150) == -50);
    CHECK(savings_percent(0, 5) == 0);
}

TEST_CASE("the published threads of the shipped scenarios come to the published totals") {
    for (const char* name : {"dsa-50", "dsa-zero"}) {
        const auto scenario = load_scenario(name, "");
        REQUIRE(scenario);
        for (const Variant& variant : scenario->variants) {
            if (!variant.published.is_object()) continue;
            const ThreadMs threads = threads_published(variant.published);
            INFO(name << " " << variant.name);
            CHECK(threads.front().first == "live_migration");
            // One of the printed totals is 1 ms off the sum of its rows.
            CHECK(total_of(threads) ==
                  Approx(published_figure(variant.published, "threads-total").value()).margin(1));
        }
    }
}

TEST_CASE("published throughput is the published size over the published time") {
    const auto scenario = load_scenario("zero-threads", "");
    REQUIRE(scenario);
    unsigned rows = 0;
    for (const Variant& variant : scenario->variants) {
        if (!variant.published.is_object()) continue;
        ++rows;
        const double ms = published_figure(variant.published, "total-time").value();
        CHECK(100e3 / ms ==
              Approx(published_figure(variant.published, "gb-per-s").value()).margin(0.02));
    }
    CHECK(rows == 4);
}
