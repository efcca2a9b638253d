// SPDX-License-Identifier: Apache-2.0
#include "engine/send/stall_reporter.hpp"

#include <vector>

#include "catch.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Seconds at which a stall is reported, asked every 10 ms.
std::vector<double> reports(seconds time, const std::function<bool(Microseconds)>& stalls) {
    StallReporter reporter;
    std::vector<double> at;
    for (Microseconds now{}; now <= time; now += milliseconds(10)) {
        if (reporter.due(stalls(now), now)) at.push_back(static_cast<double>(now.count()) / 1e6);
    }
    return at;
}

TEST_CASE("a stall is reported when it begins, and then at intervals that double") {
    const auto since_two = [](Microseconds now) { return now >= seconds(2); };
    CHECK(reports(seconds(60), since_two) == std::vector<double>{2, 3, 5, 9, 17, 33});
    CHECK(reports(seconds(100'000), since_two).size() == 17);
    CHECK(reports(seconds(100), [](Microseconds) { return false; }).empty());
}

TEST_CASE("a stall that ends and returns all the time is reported no more often") {
    const auto flaps = [](Microseconds now) { return now.count() / 10'000 % 3 != 0; };
    CHECK(reports(seconds(100'000), flaps).size() <= 18);
}

TEST_CASE("a stall after a minute without one is reported at once") {
    const auto twice = [](Microseconds now) {
        return now < seconds(20) || (now >= seconds(100) && now < seconds(102));
    };
    CHECK(reports(seconds(200), twice) == std::vector<double>{0, 1, 3, 7, 15, 100, 101});
}

TEST_CASE("rounds that come more seldom than the intervals are all reported, and no more") {
    StallReporter reporter;
    CHECK(reporter.due(true, seconds(1)));
    CHECK(reporter.due(true, seconds(6)));
    CHECK(reporter.due(true, seconds(11)));
    CHECK_FALSE(reporter.due(true, seconds(11)));
}

}  // namespace
}  // namespace migrate::engine
