// SPDX-License-Identifier: Apache-2.0
#include "base/utc_text.hpp"

#include "catch.hpp"

namespace migrate {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

TEST_CASE("a time has the form of RFC 3339 in UTC, with three digits behind the second") {
    CHECK(utc_text(system_clock::time_point{}) == "1970-01-01T00:00:00.000Z");
    // `date -u -d 2024-02-29T23:59:59Z +%s`
    const system_clock::time_point leap{milliseconds(1'709'251'199'007)};
    CHECK(utc_text(leap) == "2024-02-29T23:59:59.007Z");
    CHECK(utc_text(leap + std::chrono::microseconds(900)) == "2024-02-29T23:59:59.007Z");
    CHECK(utc_text(system_clock::time_point{milliseconds(-1)}) == "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace migrate
