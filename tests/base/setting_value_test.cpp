// SPDX-License-Identifier: Apache-2.0
#include "base/config/setting_value.hpp"

#include <algorithm>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate {
namespace {

SettingValue value_in(const SettingValues& values, std::string_view key) {
    const auto found = std::find_if(values.begin(), values.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    REQUIRE(found != values.end());
    return found->second;
}

TEST_CASE("a setting has the type of its row: number in the row's unit, true or false, text") {
    Settings settings(Side::kSend);
    for (const auto& [key, text] : std::initializer_list<std::pair<const char*, const char*>>{
             {"multifd-channels", "8"},
             {"max-bandwidth", "10M/s"},
             {"downtime-limit", "1s"},
             {"skip-unpopulated", "off"},
             {"verify", "digest"},
             {"source", "anon:1M"},
             {"multifd-socket-buffer", "1M"}}) {
        must(settings.set(key, text));
    }
    const SettingValues values = setting_values(settings);
    CHECK(value_in(values, "multifd-channels") == SettingValue(std::uint64_t{8}));
    CHECK(value_in(values, "max-bandwidth") == SettingValue(std::uint64_t{10} << 20U));
    CHECK(value_in(values, "multifd-socket-buffer") == SettingValue(std::uint64_t{1} << 20U));
    CHECK(value_in(values, "downtime-limit") == SettingValue(std::uint64_t{1000}));
    CHECK(value_in(values, "skip-unpopulated") == SettingValue(false));
    CHECK(value_in(values, "verify") == SettingValue(std::string("digest")));
    CHECK(value_in(values, "source") == SettingValue(std::string("anon:1M")));
}

TEST_CASE("a word that replaces a number stays a word") {
    const SettingValues values = setting_values(Settings(Side::kSend));
    CHECK(value_in(values, "multifd-channels") == SettingValue(std::string("auto")));
    CHECK(value_in(values, "multifd-normal-page-ratio") == SettingValue(std::string("off")));
}

TEST_CASE("the settings of a side are all its options and no others") {
    for (const Side side : {Side::kSend, Side::kRecv}) {
        const SettingValues values = setting_values(Settings(side));
        const auto count = std::count_if(kOptions.begin(), kOptions.end(), [&](const auto& row) {
            return option_applies(row, side);
        });
        CHECK(values.size() == static_cast<std::size_t>(count));
    }
}

TEST_CASE("a stronger value takes the place of the other one, and a new key comes last") {
    SettingValues values{{"a", std::string("1")}, {"b", true}};
    set_values(values, {{"c", false}, {"a", std::uint64_t{2}}});
    CHECK(values == SettingValues{{"a", std::uint64_t{2}}, {"b", true}, {"c", false}});
}

}  // namespace
}  // namespace migrate
