// SPDX-License-Identifier: Apache-2.0
#include "accel/accel_path.hpp"

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::accel {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("accel-path is words with blanks between them, as published") {
    const auto paths = must(parse_accel_path(" dsa:/dev/dsa/wq0.0  dsa:/dev/dsa/wq1.0 softdsa:2"));
    REQUIRE(paths.size() == 3);
    CHECK(paths[0].kind == AccelPath::Kind::kDevice);
    CHECK(paths[0].text == "/dev/dsa/wq0.0");
    CHECK(paths[1].text == "/dev/dsa/wq1.0");
    CHECK(paths[2].kind == AccelPath::Kind::kSoftware);
    CHECK(paths[2].text == "2");
    CHECK(must(parse_accel_path("")).empty());
    CHECK(must(parse_accel_path("  ")).empty());
}

TEST_CASE("a word without a prefix, without a path, or twice is refused") {
    const auto refusal = [](const char* text) {
        const auto paths = parse_accel_path(text);
        REQUIRE_FALSE(paths);
        CHECK(paths.error().kind() == ErrorKind::kUsage);
        return paths.error().message();
    };
    CHECK_THAT(refusal("/dev/dsa/wq0.0"), Contains("write dsa:PATH or softdsa:N"));
    CHECK_THAT(refusal("dsa:/dev/dsa/wq0.0 wq0.1"), Contains("'wq0.1'"));
    CHECK_THAT(refusal("dsa:wq0.0"), Contains("PATH must be absolute"));
    CHECK_THAT(refusal("dsa:"), Contains("PATH is missing"));
    CHECK_THAT(refusal("dsa:/dev/dsa/wq0.0 dsa:/dev/dsa/wq0.0"), Contains("twice"));
}

}  // namespace
}  // namespace migrate::accel
