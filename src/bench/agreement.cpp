// SPDX-License-Identifier: Apache-2.0
#include "bench/agreement.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <optional>

#include "bench/figures.hpp"

namespace migrate::bench {
namespace {

// Each part of the downtime is cut to whole microseconds, or rounded up by the other side's clock.
constexpr double kRoundingUs = 16;

void check_memory(const Json& sent, const Json& received, std::vector<std::string>& wrong) {
    for (const char* key : {"total", "transferred", "normal", "duplicate", "unpopulated",
                            "payload-bytes", "planned-pages", "postponed-pages"}) {
        const auto here = number_at(sent, {"ram", key});
        const auto there = number_at(received, {"ram", key});
        if (here && there && *here != *there) {
            wrong.push_back(fmt::format("{}: {} sent, {} received", key, *here, *there));
        }
    }
}

void check_rounds(const Json& sent, std::vector<std::string>& wrong) {
    const auto planned = number_at(sent, {"ram", "planned-pages"});
    if (!planned || !sent.contains("rounds")) return;
    double counted = 0;
    for (const char* key : {"normal", "duplicate", "unpopulated", "postponed-pages"})
        counted += number_at(sent, {"ram", key}).value_or(0);
    double in_rounds = number_at(sent, {"rounds-left-out", "pages"}).value_or(0);
    for (const Json& round : sent["rounds"]) in_rounds += number_at(round, {"pages"}).value_or(0);
    if (counted != *planned || counted != in_rounds) {
        wrong.push_back(fmt::format("{} pages planned, {} sent or postponed, {} in all rounds",
                                    *planned, counted, in_rounds));
    }
}

void check_downtime(const Json& sent, const Json& received, std::vector<std::string>& wrong) {
    const auto whole = number_at(sent, {"downtime-us"});
    const auto inner = number_at(received, {"downtime-us"});
    if (!whole) return;
    if (const auto parts = sent.find("downtime-split-us"); parts != sent.end()) {
        double sum = 0;
        for (const Json& part : *parts) sum += part.is_number() ? part.get<double>() : 0;
        if (std::abs(sum - *whole) > kRoundingUs) {
            wrong.push_back(
                fmt::format("the parts of the downtime add up to {} µs of {} µs", sum, *whole));
        }
    }
    if (inner && *whole < *inner) {
        wrong.push_back(fmt::format(
            "the receiver's downtime of {} µs is longer than the sender's of {} µs, which "
            "encloses it",
            *inner, *whole));
    }
    // A guest that did not write again has not seen the end of the gap.
    const bool wrote = number_at(received, {"guest", "bytes-per-second-after"}).value_or(0) > 0;
    const auto gap = number_at(received, {"guest", "longest-gap-us"});
    if (wrote && gap && inner && *gap < *inner) {
        wrong.push_back(fmt::format("the guest saw no gap as long as the downtime: {} µs of {} µs",
                                    *gap, *inner));
    }
}

}  // namespace

std::vector<std::string> disagreements(const Json& sent, const Json& received) {
    std::vector<std::string> wrong;
    check_memory(sent, received, wrong);
    check_rounds(sent, wrong);
    check_downtime(sent, received, wrong);
    if (const auto guest = received.find("guest"); guest != received.end()) {
        const std::string check = text_at(*guest, "check");
        if (!check.empty() && check != "passed") {
            wrong.push_back(fmt::format("the guest's check of its memory ended with '{}'", check));
        }
    }
    return wrong;
}

}  // namespace migrate::bench
