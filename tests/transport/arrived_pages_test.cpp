// SPDX-License-Identifier: Apache-2.0
// The frames that report a broken round: which pages arrived, and what came on lost channels.
#include "transport/arrived_pages.hpp"

#include <random>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "transport/control_frame.hpp"
#include "transport/control_messages.hpp"

namespace migrate::transport {
namespace {

using Catch::Matchers::Contains;

const std::vector<RegionInfo>& two_regions() {
    static const std::vector<RegionInfo> regions{{"ram", 1'000'000 * kPageSize},
                                                 {"video", 64 * kPageSize}};
    return regions;
}

TEST_CASE("pages that arrived come out as they went in, over as many bodies as they need") {
    std::mt19937_64 random(17);
    std::vector<std::pair<RegionId, PageRange>> in;
    for (std::uint64_t page = 0; page < 900'000;) {
        page += 1 + random() % 200;
        const std::uint64_t count = 1 + random() % 20;
        in.emplace_back(RegionId{0}, PageRange{page, count});
        page += count;
    }
    in.emplace_back(RegionId{1}, PageRange{0, 64});
    ArrivedEncoder encoder(7);
    std::vector<std::string> bodies;
    std::uint64_t pages = 0;
    for (const auto& [region, range] : in) {
        pages += range.count;
        if (std::string body = encoder.add(region, range); !body.empty()) bodies.push_back(body);
    }
    bodies.push_back(encoder.finish());
    CHECK(encoder.finish().empty());
    CHECK(encoder.pages() == pages);
    CHECK(bodies.size() > 2);
    std::vector<std::pair<RegionId, PageRange>> out;
    for (const std::string& body : bodies) {
        CHECK(body.size() <= kMaxFrameBody);
        const ArrivedPages arrived = must(decode_arrived(body, two_regions()));
        CHECK(arrived.round == 7);
        for (const PageRange& range : arrived.pages) out.emplace_back(arrived.region, range);
    }
    CHECK(out == in);
}

TEST_CASE("a report of arrived pages that is cut off, damaged or out of range is refused") {
    ArrivedEncoder encoder(1);
    CHECK(encoder.add(RegionId{1}, {3, 5}).empty());
    CHECK(encoder.add(RegionId{1}, {60, 4}).empty());
    const std::string body = encoder.finish();
    CHECK(must(decode_arrived(body, two_regions())).pages.size() == 2);
    for (std::size_t size = 0; size < body.size(); ++size) {
        const auto cut = decode_arrived(body.substr(0, size), two_regions());
        REQUIRE_FALSE(cut);
        CHECK(cut.error().kind() == ErrorKind::kProtocol);
    }
    for (std::size_t at = 0; at < body.size(); ++at) {
        std::string damaged = body;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        CHECK_FALSE(decode_arrived(damaged, two_regions()));
    }
    CHECK_FALSE(decode_arrived(body + '\0', two_regions()));
    // The other side has smaller memory, or fewer regions.
    const std::vector<RegionInfo> small{{"ram", kPageSize}, {"video", 32 * kPageSize}};
    CHECK_FALSE(decode_arrived(body, small));
    CHECK_FALSE(decode_arrived(body, std::span(small).first(1)));
    // Runs of other kinds.
    RunListEncoder runs;
    runs.restart(0);
    CHECK(runs.append({{0, 4}, PageKind::kUnpopulated}));
    const auto list = runs.finish();
    const auto header = encode_packet_header({.region = RegionId{1}, .round = 1}, list);
    std::string other(reinterpret_cast<const char*>(header.data()), header.size());
    other.append(reinterpret_cast<const char*>(list.data()), list.size());
    const auto refused = decode_arrived(other, two_regions());
    REQUIRE_FALSE(refused);
    CHECK_THAT(refused.error().message(), Contains("other runs"));
}

TEST_CASE("the frames of a sender that returns are decoded as they were encoded") {
    const Resume resume = must(decode_resume(encode(Resume{7, {4096, 1 << 20}})));
    CHECK(resume.round == 7);
    CHECK(resume.sizes == std::vector<std::uint64_t>{4096, 1 << 20});
    const Resumed answer = must(decode_resumed(encode(Resumed{7, true, 9, LoadTime{2000}})));
    CHECK(answer.round == 7);
    CHECK(answer.complete);
    CHECK(answer.channels == 9);
    REQUIRE(answer.load);
    CHECK(answer.load->microseconds == 2000);
    CHECK_FALSE(answer.loaded);
    CHECK_FALSE(answer.handed_over);
    CHECK_FALSE(must(decode_resumed(encode(Resumed{1, false, 1}))).load);
    CHECK_FALSE(resume.handed_over);
    CHECK(must(decode_resume(encode(Resume{7, {4096}, true}))).handed_over);
    const Resumed waiting = must(decode_resumed(encode(Resumed{7, true, 9, {}, true})));
    CHECK(waiting.loaded);
    CHECK_FALSE(waiting.handed_over);
    CHECK(must(decode_resumed(encode(Resumed{7, true, 9, {}, true, true}))).handed_over);
    for (const char* body :
         {"", "{}", R"({"round":1})", R"({"round":1,"sizes":[-1]})", R"({"round":-1,"sizes":[]})",
          R"({"round":1,"sizes":[1],"handed-over":1})"}) {
        INFO(body);
        CHECK_FALSE(decode_resume(body));
    }
    for (const char* body :
         {R"({"round":1,"complete":true})", R"({"round":1,"complete":1,"channels":1})",
          R"({"round":0,"complete":false,"channels":1})",
          R"({"round":1,"complete":true,"channels":0})",
          R"({"round":1,"complete":true,"channels":1,"load-us":-1})",
          R"({"round":1,"complete":true,"channels":1,"loaded":1})",
          R"({"round":1,"complete":false,"channels":1,"loaded":true})",
          R"({"round":1,"complete":true,"channels":1,"handed-over":true})"}) {
        INFO(body);
        CHECK_FALSE(decode_resumed(body));
    }
}

TEST_CASE("the frames of a broken round are decoded as they were encoded") {
    const RoundBreak broken{3, 77, {{2, 4096, {1, 2, 3}}, {5, 0, {}}}};
    const RoundBreak read = must(decode_round_break(encode(broken)));
    CHECK(read.round == 3);
    CHECK(read.arrived == 77);
    REQUIRE(read.lost.size() == 2);
    CHECK(read.lost[0].channel == 2);
    CHECK(read.lost[0].bytes == 4096);
    CHECK(read.lost[0].pages == PageCounts{1, 2, 3});
    const RoundMark mark = must(decode_round_mark(encode(RoundMark{4, 9, {0, 1023}})));
    CHECK(mark.lost == std::vector<std::uint16_t>{0, 1023});
    CHECK(encode(RoundMark{4, 9}).find("lost") == std::string::npos);
    const ChannelCount count =
        must(decode_channel_count(encode(ChannelCount{.channels = 9, .lost = {8}})));
    CHECK(count.lost == std::vector<std::uint16_t>{8});
    for (const char* body :
         {R"({"round":1,"arrived":0})", R"({"round":1,"arrived":0,"lost":[]})",
          R"({"round":0,"arrived":0,"lost":[{"channel":0,"bytes":0,"pages":{}}]})",
          R"({"round":1,"arrived":0,"lost":[7]})",
          R"({"round":1,"arrived":0,"lost":[{"channel":1024,"bytes":0,)"
          R"("pages":{"normal":0,"zero":0,"unpopulated":0}}]})"}) {
        INFO(body);
        CHECK_FALSE(decode_round_break(body));
    }
    for (const char* body :
         {R"({"round":1,"pages":0,"lost":7})", R"({"round":1,"pages":0,"lost":[-1]})",
          R"({"round":1,"pages":0,"lost":[1024]})"}) {
        INFO(body);
        CHECK_FALSE(decode_round_mark(body));
    }
    std::string many = R"({"round":1,"pages":0,"lost":[0)";
    for (int i = 0; i < 1024; ++i) many += ",0";
    CHECK_FALSE(decode_round_mark(many + "]}"));
}

}  // namespace
}  // namespace migrate::transport
