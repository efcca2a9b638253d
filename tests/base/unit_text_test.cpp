// SPDX-License-Identifier: Apache-2.0
#include "base/config/unit_text.hpp"

#include <limits>
#include <string>

#include "base/units.hpp"
#include "catch.hpp"

using namespace migrate;

namespace {

constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();

std::uint64_t bytes(std::string_view text) {
    const auto parsed = parse_bytes(text);
    INFO(text);
    REQUIRE(parsed);
    return *parsed;
}

std::uint64_t rate(std::string_view text) {
    const auto parsed = parse_bytes_per_second(text);
    INFO(text);
    REQUIRE(parsed);
    return *parsed;
}

std::uint64_t duration(std::string_view text) {
    const auto parsed = parse_duration_ms(text);
    INFO(text);
    REQUIRE(parsed);
    return *parsed;
}

}  // namespace

TEST_CASE("rates are sizes for each second, or decimal multiples of a bit") {
    CHECK(rate("0") == 0);
    CHECK(rate("200M") == 200 * kMiB);
    CHECK(rate("200M/s") == 200 * kMiB);
    CHECK(rate("200MiB/s") == 200 * kMiB);
    CHECK(rate("8kbit/s") == 1000);
    CHECK(rate("1Gbit/s") == 125'000'000);
    CHECK(rate("2.5gbit") == 312'500'000);
    CHECK(rate("0.001Tbit/s") == 125'000'000);
    for (const char* wrong : {"", "/s", "1bit", "1Gbit/min", "G", "-1M", "1Gbits/s"}) {
        INFO(wrong);
        const auto parsed = parse_bytes_per_second(wrong);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().kind() == ErrorKind::kUsage);
        CHECK(parsed.error().message().find("is not a rate: write") != std::string::npos);
    }
    CHECK(parse_bytes_per_second("0.00001kbit").error().message() ==
          "'0.00001kbit' is not a whole number of bytes");
    CHECK(parse_bytes_per_second("200000000Tbit").error().message() ==
          "'200000000Tbit' does not fit into 64 bits");
}

TEST_CASE("sizes are whole bytes or multiples of 1024") {
    CHECK(bytes("0") == 0);
    CHECK(bytes("524288") == 524288);
    CHECK(bytes("512K") == 512 * kKiB);
    CHECK(bytes("512k") == 512 * kKiB);
    CHECK(bytes("4MiB") == 4 * kMiB);
    CHECK(bytes("4mib") == 4 * kMiB);
    CHECK(bytes("100G") == 100 * kGiB);
    CHECK(bytes("2TiB") == 2048 * kGiB);
    CHECK(bytes("18446744073709551615") == kLargest);
    CHECK(bytes("16777215T") == 16777215 * (1024 * kGiB));
}

TEST_CASE("a size may have a fraction that comes to whole bytes") {
    CHECK(bytes("1.5G") == kGiB + kGiB / 2);
    CHECK(bytes("0.5K") == 512);
    CHECK(bytes("2.000M") == 2 * kMiB);
    CHECK_FALSE(parse_bytes("1.5"));
    CHECK_FALSE(parse_bytes("0.3K"));
    CHECK_FALSE(parse_bytes("1.0000000000000000000000001G"));
}

TEST_CASE("a text that is not a size is refused with the allowed form") {
    for (const std::string_view text : {"", "K", "-1", "+1", " 1", "1 ", "1KB", "1Ki", "1.K", ".5K",
                                        "0x10", "1e3", "1..5K", "1K1"}) {
        const auto parsed = parse_bytes(text);
        INFO(text);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().kind() == ErrorKind::kUsage);
        CHECK(parsed.error().message().find("'" + std::string(text) + "'") != std::string::npos);
        CHECK(parsed.error().message().find("KiB") != std::string::npos);
    }
}

TEST_CASE("a size beyond 64 bits is refused, not wrapped around") {
    for (const std::string_view text :
         {"18446744073709551616", "99999999999999999999999", "16777216T", "16777215.99999T"}) {
        INFO(text);
        CHECK_FALSE(parse_bytes(text));
    }
}

TEST_CASE("durations are milliseconds unless a unit says otherwise") {
    CHECK(duration("0") == 0);
    CHECK(duration("300") == 300);
    CHECK(duration("500ms") == 500);
    CHECK(duration("30s") == 30'000);
    CHECK(duration("2min") == 120'000);
    CHECK(duration("24h") == 86'400'000);
}

TEST_CASE("a text that is not a duration is refused with the allowed form") {
    for (const std::string_view text : {"", "s", "-1s", "1.5s", "1m", "1 s", "1d", "1sec"}) {
        const auto parsed = parse_duration_ms(text);
        INFO(text);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().kind() == ErrorKind::kUsage);
        CHECK(parsed.error().message().find("500ms") != std::string::npos);
    }
    CHECK_FALSE(parse_duration_ms("18446744073709551615s"));
}

TEST_CASE("integers are plain decimal digits") {
    REQUIRE(parse_integer("0"));
    CHECK(*parse_integer("255") == 255);
    CHECK(*parse_integer("18446744073709551615") == kLargest);
    for (const std::string_view text :
         {"", "-1", "+1", "1.0", "1K", " 1", "18446744073709551616"}) {
        INFO(text);
        CHECK_FALSE(parse_integer(text));
    }
}

TEST_CASE("sizes are shown with two decimals of the largest unit") {
    CHECK(format_bytes(0) == "0 bytes");
    CHECK(format_bytes(1) == "1 byte");
    CHECK(format_bytes(1023) == "1023 bytes");
    CHECK(format_bytes(kKiB) == "1.00 KiB");
    CHECK(format_bytes(kGiB + kGiB / 2) == "1.50 GiB");
    CHECK(format_bytes(kMiB - 1) == "1.00 MiB");
    CHECK(format_bytes(kLargest) == "16.00 EiB");
}

TEST_CASE("durations are shown in the unit that suits them") {
    CHECK(format_duration_ms(0) == "0 ms");
    CHECK(format_duration_ms(999) == "999 ms");
    CHECK(format_duration_ms(1500) == "1.50 s");
    CHECK(format_duration_ms(59'999) == "59.99 s");
    CHECK(format_duration_ms(125'000) == "2 min 5 s");
    CHECK(format_duration_ms(3'660'000) == "1 h 1 min");
}

TEST_CASE("an exact text parses back to its number") {
    for (const std::uint64_t number :
         {std::uint64_t{0}, std::uint64_t{1}, kKiB, 512 * kKiB, kMiB + 1, 3 * kGiB, kLargest}) {
        CHECK(bytes(exact_bytes_text(number)) == number);
        CHECK(duration(exact_duration_text(number)) == number);
    }
    CHECK(exact_bytes_text(524288) == "512K");
    CHECK(exact_bytes_text(524289) == "524289");
    CHECK(exact_duration_text(30'000) == "30s");
    CHECK(exact_duration_text(1'500) == "1500ms");
    CHECK(exact_duration_text(120'000) == "2min");
}
