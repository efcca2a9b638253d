// SPDX-License-Identifier: Apache-2.0
// A small results.json, made up, with the figures that the tests then look for.
#pragma once

#include "bench/json.hpp"

namespace migrate::bench::test {

inline Json thread(const char* name, double ms) { return {{"name", name}, {"run-time", ms}}; }

inline Json run(const char* variant, unsigned turn, double total_us, double channel_ms,
                const char* device = nullptr) {
    Json send = {
        {"total-time-us", total_us},
        {"ram",
         {{"total", 1U << 30U},
          {"transferred", 2048},
          {"mbps", 1.5},
          {"payload-bytes", 1500},
          {"header-bytes", 548}}},
        {"threads", {thread("multifdsend_0", channel_ms), thread("live_migration", 10.9)}}};
    if (device != nullptr) send["accel"] = {{"device", device}};
    return {{"variant", variant},   {"turn", turn},
            {"warm-up", turn == 0}, {"cpu-ms", {{"send", 40.0}, {"recv", 60.0}}},
            {"send", send},         {"recv", Json::object()}};
}

inline Json variant(const char* name, const char* label) {
    return {{"name", name},          {"label", label},  {"peer", false},
            {"guest", 1U << 30U},    {"sink", "null:"}, {"backing", "touched zeros, read"},
            {"notes", Json::array()}};
}

// Baseline and device, a warm-up and three timed runs each, of which one failed.
inline Json results(const char* device) {
    Json base = variant("base", "base <CPU>");
    base["published"] = {{"total-time", 10343},
                         {"threads-total", 4000},
                         {"threads", {{"live_migration", 1000.5}, {"multifdsend_0", 3000.25}}}};
    Json dsa = variant("dsa", "DSA");
    dsa["compare-to"] = "base";
    dsa["x"] = 2;
    Json skipped = variant("large", "large");
    skipped["skipped"] = "too large";
    Json failed = {
        {"variant", "base"}, {"turn", 4}, {"warm-up", false}, {"error", "it broke\nlog"}};
    Json runs = {run("base", 0, 9e6, 900),
                 run("dsa", 0, 9e6, 900, device),
                 run("base", 1, 2000, 100),
                 run("dsa", 1, 1000, 40, device),
                 run("base", 2, 3000, 110),
                 run("dsa", 2, 1500, 50, device),
                 run("base", 3, 4000, 120),
                 run("dsa", 3, 2000, 60, device),
                 failed};
    Json scenario = {{"name", "canned"},
                     {"title", "made up"},
                     {"about", "for | tests"},
                     {"published-by", "nobody"},
                     {"x-label", ""},
                     {"tables", {"threads", "latency", "throughput"}},
                     {"variants", {base, dsa, skipped}},
                     {"runs", runs}};
    return {{"mode", {{"quick", true}, {"scale", 0.5}, {"peer", "none"}}},
            {"host", {{"cpu", "a CPU"}, {"cpus", 2}, {"memory", 1U << 30U}, {"load", 0.25}}},
            {"started", "2026-01-01T00:00:00Z"},
            {"scenarios", Json::array({scenario})}};
}

}  // namespace migrate::bench::test
