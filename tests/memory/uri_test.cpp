#include "memory/uri.hpp"

#include <array>
#include <string>

#include "catch.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/source/anon_source.hpp"
#include "memory/source/page_source.hpp"
#include "tests/memory/must.hpp"

namespace migrate::memory {
namespace {

constexpr std::array<std::string_view, 2> kSchemes{"file", "anon"};

TEST_CASE("a text without a kind is a file's path, and so is one whose colon follows a slash") {
    for (const std::string_view path : {"guest.mem", "/tmp/a:b", "./a:b"}) {
        const Uri uri = must(parse_uri("--source", path, kSchemes));
        CHECK(uri.scheme == "file");
        CHECK(uri.rest == path);
    }
    CHECK(must(parse_uri("--source", "file:a:b", kSchemes)).rest == "a:b");
    CHECK(must(parse_uri("--source", "anon:1G,huge=on", kSchemes)).rest == "1G,huge=on");
}

TEST_CASE("an unknown kind is a usage error that names it and the kinds there are") {
    const auto source = open_page_source("annon:1G");
    CHECK_THAT(message_of(source), Catch::Contains("'annon:'"));
    CHECK_THAT(message_of(source), Catch::Contains("file and anon"));
    CHECK(source.error().kind() == ErrorKind::kUsage);
    const auto sink = open_page_sink("ramfs:");
    CHECK_THAT(message_of(sink), Catch::Contains("file, anon, memfd and null"));
    CHECK(sink.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("bad words are usage errors that name the bad word") {
    struct Bad {
        const char* uri;
        const char* named;
    };
    for (const Bad& bad :
         {Bad{"anon:1G,fil=zero", "'fil=zero'"},
          Bad{"anon:1G,fill=ones", "untouched, read, zero, random and mixed:RATIO"},
          Bad{"anon:1G,fill=ones", "'ones'"}, Bad{"anon:1G,fill", "'fill'"},
          Bad{"anon:1G,fill=", "'fill='"}, Bad{"anon:1G,fill=mixed:", "mixed:"},
          Bad{"anon:1G,fill=mixed:101", "mixed:101"}, Bad{"anon:1G,fill=mixed:5x", "mixed:5x"},
          Bad{"anon:1G,huge=maybe", "huge=maybe"}, Bad{"anon:1G,,huge=on", "''"},
          Bad{"anon:", "size is missing"}, Bad{"anon:many", "many"},
          Bad{"anon:0", "multiple of the page size"}, Bad{"anon:4097", "4097"},
          Bad{"file:", "path is missing"}, Bad{"", "empty"}}) {
        const auto source = open_page_source(bad.uri);
        INFO(bad.uri);
        CHECK_THAT(message_of(source), Catch::Contains(bad.named));
        CHECK(source.error().kind() == ErrorKind::kUsage);
    }
    for (const Bad& bad : {Bad{"null:x", "'x'"}, Bad{"anon:big=on", "'big=on'"},
                           Bad{"memfd:huge=1", "huge=1"}, Bad{"", "empty"}}) {
        const auto sink = open_page_sink(bad.uri);
        INFO(bad.uri);
        CHECK_THAT(message_of(sink), Catch::Contains(bad.named));
        CHECK(sink.error().kind() == ErrorKind::kUsage);
    }
}

TEST_CASE("the words of a synthetic guest are understood in any order") {
    const AnonSourceSpec spec = must(parse_anon_source("anon:…", "2M,huge=on,fill=mixed:30"));
    CHECK(spec.size_bytes == 2 * kMiB);
    CHECK(spec.fill == AnonFill::kMixed);
    CHECK(spec.random_percent == 30);
    CHECK(spec.huge == HugePages::kOn);
    const AnonSourceSpec plain = must(parse_anon_source("anon:8192", "8192"));
    CHECK(plain.size_bytes == 8192);
    CHECK(plain.fill == AnonFill::kUntouched);
    CHECK(plain.huge == HugePages::kOff);
}

}  // namespace
}  // namespace migrate::memory
