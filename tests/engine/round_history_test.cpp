// SPDX-License-Identifier: Apache-2.0
#include "engine/report/round_history.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "engine/report/report.hpp"

namespace migrate::engine {
namespace {

RoundHistory history_of(std::uint32_t rounds) {
    RoundHistory history;
    for (std::uint32_t i = 1; i <= rounds; ++i) {
        history.push_back({.figures = {.round = i,
                                       .pages = i,
                                       .normal_pages = 2 * i,
                                       .postponed_pages = 4 * i,
                                       .bytes = 3 * i,
                                       .duration = Microseconds(i),
                                       .collect_time = Microseconds(10 * i)},
                           .decision = {}});
    }
    return history;
}

TEST_CASE("a history keeps the first and the last rounds in order, and the sums of the others") {
    constexpr auto kKept = static_cast<std::uint32_t>(RoundHistory::kFirst + RoundHistory::kLast);
    for (const std::uint32_t rounds :
         {0U, 1U, kKept - 1, kKept, kKept + 1, kKept + 63, kKept + 64, kKept + 65, 10'000U}) {
        INFO(rounds << " rounds");
        const RoundHistory history = history_of(rounds);
        CHECK(history.size() == rounds);
        CHECK(history.empty() == (rounds == 0));
        RoundTotals all;
        std::uint32_t last = 0;
        for (const RoundReport* round : history.kept()) {
            const std::uint32_t number = round->figures.round;
            const bool follows = number == last + 1;
            const bool skips =
                last == RoundHistory::kFirst && number == rounds + 1 - RoundHistory::kLast;
            CHECK((follows || skips));
            last = number;
            all.add(round->figures);
        }
        CHECK(last == rounds);
        if (rounds != 0) CHECK(history.back().figures.round == rounds);
        const RoundTotals& left_out = history.left_out();
        const std::uint64_t sum = std::uint64_t{rounds} * (rounds + 1) / 2;
        CHECK(history.kept().size() + left_out.rounds == rounds);
        CHECK(all.pages + left_out.pages == sum);
        CHECK(all.normal_pages + left_out.normal_pages == 2 * sum);
        CHECK(all.postponed_pages + left_out.postponed_pages == 4 * sum);
        CHECK(all.bytes + left_out.bytes == 3 * sum);
        CHECK(static_cast<std::uint64_t>((all.duration + left_out.duration).count()) == sum);
        CHECK(static_cast<std::uint64_t>((all.collect_time + left_out.collect_time).count()) ==
              10 * sum);
    }
}

TEST_CASE("a document of many rounds is no longer than one of some, and says what it leaves out") {
    Report report;
    report.side = "send";
    report.guest.emplace();
    report.rounds = history_of(200);
    const std::string some = to_json(report);
    report.rounds = history_of(100'000);
    const std::string many = to_json(report);
    CHECK(many.size() < some.size() + 2000);
    const auto document = nlohmann::json::parse(many);
    CHECK(document["ram"]["dirty-sync-count"] == 100'000);
    std::uint64_t pages = document["rounds-left-out"]["pages"];
    std::uint64_t rounds = document["rounds-left-out"]["rounds"];
    for (const auto& round : document["rounds"]) {
        pages += round["pages"].get<std::uint64_t>();
        ++rounds;
    }
    CHECK(rounds == 100'000);
    CHECK(pages == 100'000ULL * 100'001 / 2);
}

}  // namespace
}  // namespace migrate::engine
