// SPDX-License-Identifier: Apache-2.0
// Scenarios for tests: a text that parses, and the message of one that does not.
#pragma once

#include <string>

#include "bench/scenario.hpp"
#include "catch.hpp"

namespace migrate::bench::test {

// A scenario with these variants, and with `more`, further keys that begin with a comma.
inline std::string scenario_text(const std::string& variants, const std::string& more = "") {
    return R"({"name": "s", "tables": ["throughput"], "guest": "64M",
        "defaults": {"source": "anon:{size}", "sink": "anon:"}, "variants": [)" +
           variants + "]" + more + "}";
}

inline Scenario parsed(const std::string& variants, const std::string& more = "") {
    Result<Scenario> scenario = parse_scenario(scenario_text(variants, more), "FILE");
    INFO((scenario ? std::string() : scenario.error().message()));
    REQUIRE(scenario);
    return *std::move(scenario);
}

inline std::string refusal_of(const std::string& variants, const std::string& more = "") {
    const Result<Scenario> scenario = parse_scenario(scenario_text(variants, more), "FILE");
    if (scenario) return "accepted";
    CHECK(scenario.error().kind() == ErrorKind::kUsage);
    return scenario.error().message();
}

}  // namespace migrate::bench::test
