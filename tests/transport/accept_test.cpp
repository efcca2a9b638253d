// SPDX-License-Identifier: Apache-2.0
#include "transport/accept.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

using Json = nlohmann::json;

TEST_CASE("the warnings of an acceptance are a few texts that a terminal can show") {
    Accept accept;
    CHECK(must(decode_accept(encode(accept))).warnings.empty());
    accept.warnings = {"little room", "a\x1b[2Jb", std::string(2000, 'x')};
    const auto warnings = must(decode_accept(encode(accept))).warnings;
    REQUIRE(warnings.size() == 3);
    CHECK(warnings[0] == "little room");
    CHECK(warnings[1].find('\x1b') == std::string::npos);
    CHECK(warnings[2].size() == kMaxWarning);
    Json json = Json::parse(encode(accept));
    for (const Json& wrong : {Json("text"), Json(7), Json::array({7}), Json::array({Json::array()}),
                              Json(std::vector<std::string>(kMaxWarnings + 1, "x"))}) {
        json["warnings"] = wrong;
        CHECK_THAT(message_of(decode_accept(json.dump())), Catch::Contains("warnings"));
    }
}

}  // namespace
}  // namespace migrate::transport
