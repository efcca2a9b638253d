// SPDX-License-Identifier: Apache-2.0
#include "base/config/option_lookup.hpp"

#include <filesystem>
#include <iterator>
#include <set>
#include <string>

#include "catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace migrate;

namespace {

const Option& row(std::string_view key) {
    const std::size_t index = find_option(key);
    REQUIRE(index < kOptionCount);
    return kOptions[index];
}

std::string rejection(std::string_view key, std::string_view text) {
    const auto parsed = parse_option(row(key), text);
    INFO(key << " = " << text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind() == ErrorKind::kUsage);
    return parsed.error().message();
}

std::uint64_t number(std::string_view key, std::string_view text) {
    const auto parsed = parse_option(row(key), text);
    INFO(key << " = " << text);
    REQUIRE(parsed);
    return parsed->number;
}

std::string unknown(std::string_view key, Side side) {
    const auto found = find_option_for(key, side);
    REQUIRE_FALSE(found);
    CHECK(found.error().kind() == ErrorKind::kUsage);
    return found.error().message();
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("every row of the option table is complete and allows its own default") {
    for (const Option& option : kOptions) {
        INFO(option.key);
        CHECK(parse_option(option, option.default_text));
        CHECK(option.help.ends_with('.'));
        CHECK_FALSE(value_name_of(option).empty());
        CHECK((option.type == OptionType::kChoice) == !option.choices.empty());
        CHECK(option.min <= option.max);
        CHECK(option.min % option.multiple_of == 0);
        // A required option has no default; an option with a unit or a range has one. A text may
        // have one: without it, the option is not set.
        if (option.required) CHECK(option.default_text.empty());
        if (!is_textual(option.type)) CHECK_FALSE(option.default_text.empty());
        // The word of a number is not a number in range, or the two could not be told apart.
        if (!option.word.empty() && !is_textual(option.type))
            CHECK((option.word_value > option.max || option.word_value < option.min));
    }
}

TEST_CASE("every section of the help has a title and an option") {
    std::set<OptionSection> used;
    for (const Option& option : kOptions) used.insert(option.section);
    CHECK(used.size() == all_sections().size());
    for (const OptionSection section : all_sections()) {
        CHECK(used.contains(section));
        CHECK_FALSE(section_title(section).empty());
    }
}

TEST_CASE("an option's default and limits survive being written out and read again") {
    for (const Option& option : kOptions) {
        INFO(option.key);
        const auto value = parse_option(option, option.default_text);
        REQUIRE(value);
        const auto again = parse_option(option, option_text(option, *value));
        REQUIRE(again);
        CHECK(again->number == value->number);
        CHECK(again->text == value->text);
        if (is_textual(option.type) || option.type == OptionType::kOnOff) continue;
        CHECK(parse_option(option, option_text(option, {.text = "", .number = option.min})));
        CHECK(parse_option(option, option_text(option, {.text = "", .number = option.max})));
    }
}

TEST_CASE("a number out of range is refused with the range") {
    CHECK(number("multifd-channels", "1") == 1);
    CHECK(number("multifd-channels", "255") == 255);
    CHECK(rejection("multifd-channels", "300") ==
          "option multifd-channels: 300 is out of range 1 … 255 or auto");
    CHECK(rejection("multifd-channels", "0") ==
          "option multifd-channels: 0 is out of range 1 … 255 or auto");
    CHECK(rejection("multifd-zstd-level", "21") ==
          "option multifd-zstd-level: 21 is out of range 0 … 20");
    CHECK(rejection("multifd-lz4-level", "0") ==
          "option multifd-lz4-level: 0 is out of range 1 … 12");
    CHECK(rejection("io-timeout", "99ms") == "option io-timeout: 99ms is out of range 100ms … 24h");
    CHECK(contains(rejection("multifd-channels", "two"), "'two' is not a whole number"));
    CHECK(contains(rejection("multifd-channels", "2K"),
                   "'2K' is not a whole number: write it without a unit"));
    CHECK(contains(rejection("multifd-channels", "-1"), "'-1' is not a whole number"));
    CHECK(contains(rejection("multifd-channels", ""), "'' is not a whole number"));
}

TEST_CASE("a packet size is a multiple of the page size within its range") {
    CHECK(number("multifd-packet-size", "4096") == 4096);
    CHECK(number("multifd-packet-size", "4M") == 4 * kMiB);
    CHECK(number("multifd-packet-size", "512KiB") == 524288);
    CHECK(rejection("multifd-packet-size", "8M") ==
          "option multifd-packet-size: 8M is out of range 4K … 4M");
    CHECK(rejection("multifd-packet-size", "5000") ==
          "option multifd-packet-size: 5000 is not a multiple of 4K");
    CHECK(contains(rejection("multifd-packet-size", "4X"), "'4X' is not a size"));
}

TEST_CASE("the normal page ratio is a percentage or off") {
    CHECK(number("multifd-normal-page-ratio", "0") == 0);
    CHECK(number("multifd-normal-page-ratio", "100") == 100);
    CHECK(number("multifd-normal-page-ratio", "off") == kNormalPageRatioOff);
    CHECK(rejection("multifd-normal-page-ratio", "101") ==
          "option multifd-normal-page-ratio: 101 is out of range 0 … 100 or off");
    const Option& ratio = row("multifd-normal-page-ratio");
    CHECK(option_text(ratio, {.text = "", .number = kNormalPageRatioOff}) == "off");
}

TEST_CASE("a bandwidth may say that it is per second") {
    CHECK(number("max-bandwidth", "0") == 0);
    CHECK(number("max-bandwidth", "100M") == 100 * kMiB);
    CHECK(number("max-bandwidth", "100MiB/s") == 100 * kMiB);
    CHECK(number("max-bandwidth", "1Gbit/s") == 125'000'000);
    CHECK(contains(rejection("max-bandwidth", "/s"), "'/s' is not a rate"));
    CHECK(contains(rejection("max-bandwidth", "2T"), "out of range 0 … 1T"));
}

TEST_CASE("a choice and a switch take their own words only") {
    CHECK(parse_option(row("multifd-compression"), "zstd"));
    CHECK(rejection("multifd-compression", "gzip") ==
          "option multifd-compression: must be none, lz4 or zstd, not 'gzip'");
    CHECK(contains(rejection("multifd-compression", "none|lz4"), "not 'none|lz4'"));
    CHECK(contains(rejection("verify", ""), "must be none or digest"));
    CHECK(number("skip-unpopulated", "on") == 1);
    CHECK(number("skip-unpopulated", "off") == 0);
    CHECK(rejection("skip-unpopulated", "yes") ==
          "option skip-unpopulated: must be on or off, not 'yes'");
}

TEST_CASE("an address is a host and a port, with brackets around IPv6") {
    for (const std::string_view text :
         {"127.0.0.1:4444", "[::1]:4444", "host.example:1", "localhost:65535", ""}) {
        INFO(text);
        CHECK(parse_option(row("connect"), text));
    }
    CHECK(parse_option(row("listen"), "0.0.0.0:0"));
    for (const std::string_view text :
         {"localhost", ":4444", "::1:4444", "[::1]", "[]:4444", "host:", "host:port", "host:-1",
          "a b:1", "host:1:2", "[::1:4444"}) {
        CHECK(contains(rejection("connect", text), "is not HOST:PORT"));
    }
    CHECK(rejection("connect", "host:0") == "option connect: port 0 is out of range 1 … 65535");
    CHECK(rejection("listen", "host:65536") ==
          "option listen: port 65536 is out of range 0 … 65535");
}

TEST_CASE("a text with a NUL character is refused") {
    using namespace std::string_view_literals;
    CHECK(contains(rejection("stats", "a\0b"sv), "NUL"));
    CHECK(contains(rejection("listen", "a\0:1"sv), "NUL"));
}

TEST_CASE("an unknown option is answered with the nearest one") {
    CHECK(unknown("multifd-chanels", Side::kSend) ==
          "unknown option 'multifd-chanels': did you mean 'multifd-channels'?");
    CHECK(unknown("multifd-chanels", Side::kRecv) ==
          "unknown option 'multifd-chanels': did you mean 'multifd-channels', which belongs to "
          "'migrate send'?");
    CHECK(contains(unknown("channels", Side::kSend), "did you mean 'multifd-channels'?"));
    CHECK(contains(unknown("multifd_channels", Side::kSend), "did you mean 'multifd-channels'?"));
    CHECK(contains(unknown("timeout", Side::kRecv), "timeout'?"));
    CHECK(unknown("", Side::kRecv) == "unknown option '': 'migrate recv --help all' lists all");
}

TEST_CASE("an option of the other command is answered with the command it belongs to") {
    CHECK(unknown("connect", Side::kRecv) ==
          "option connect belongs to 'migrate send', not to 'migrate recv'");
    CHECK(unknown("listen", Side::kSend) ==
          "option listen belongs to 'migrate recv', not to 'migrate send'");
    for (const Side side : {Side::kSend, Side::kRecv}) {
        const auto found = find_option_for("io-timeout", side);
        REQUIRE(found);
        CHECK(kOptions[*found].key == "io-timeout");
    }
}

// An option that nothing reads would be accepted and ignored.
TEST_CASE("every option of the table is read by the program") {
    namespace fs = std::filesystem;
    std::string program;
    for (const char* folder : {"src", "accel", "memory", "transport", "cli"}) {
        const fs::path root = fs::path(MIGRATE_SOURCE_DIR) / folder;
        for (const auto& entry : fs::recursive_directory_iterator(root)) {
            const auto extension = entry.path().extension();
            if (extension != ".cpp" && extension != ".hpp") continue;
            program += read_file(entry.path());
        }
    }
    const auto check_read = [&program](std::string_view key) {
        INFO(key);
        const std::string get = "get<\"" + std::string(key) + "\"";
        CHECK((contains(program, get + ">") || contains(program, get + ",")));
    };
    for (const Option& option : kOptions) {
        check_read(option.key);
        if (option.forms == nullptr) continue;
        for (const Form& form : option.forms->forms) {
            for (const Option& word : form.words) check_read(word.key);
        }
    }
}
