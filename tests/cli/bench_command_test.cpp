// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_command.hpp"

#include "catch.hpp"
#include "cli/cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli::test;

TEST_CASE("bench takes scenarios, a folder and its switches in any order") {
    const auto line = parse({"bench", "dsa-50", "--out", "report", "--quick", "zero-threads",
                             "--scale=0.16", "--peer", "qemu", "--resume"});
    INFO((line ? std::string() : line.error().message()));
    REQUIRE(line);
    CHECK(line->command == cli::Command::kBench);
    const bench::Request& request = line->bench.request;
    CHECK(request.scenarios == std::vector<std::string>{"dsa-50", "zero-threads"});
    CHECK(request.out == "report");
    CHECK(request.mode.quick);
    CHECK(request.mode.scale == Approx(0.16));
    CHECK(request.mode.peer);
    CHECK(request.resume);
    CHECK(request.scratch == "/dev/shm");
}

TEST_CASE("bench refuses what it does not know, by name") {
    const auto refused = [](std::initializer_list<const char*> words) {
        const auto line = parse(words);
        if (line) return std::string("accepted");
        CHECK(line.error().kind() == ErrorKind::kUsage);
        return line.error().message();
    };
    CHECK(refused({"bench"}).find("needs the name of a scenario") != std::string::npos);
    CHECK(refused({"bench", "x"}).find("--out DIR") != std::string::npos);
    CHECK(refused({"bench", "x", "--out"}).find("needs a value") != std::string::npos);
    CHECK(refused({"bench", "x", "--outt", "y"}).find("'--out'") != std::string::npos);
    CHECK(refused({"bench", "--quick=1", "x"}).find("takes no value") != std::string::npos);
    CHECK(refused({"bench", "--quick", "--quick"}).find("given twice") != std::string::npos);
    for (const char* scale : {"0", "-1", "17", "nan", "1x", ""})
        CHECK(refused({"bench", "x", "--out", "y", "--scale", scale}).find("scale") !=
              std::string::npos);
    CHECK(refused({"bench", "x", "--out", "y", "--peer", "xen"}).find("qemu") != std::string::npos);
}

TEST_CASE("bench runs one bare loop by its words, without a scenario") {
    const auto line = parse({"bench", "--loop", "network:channels=3,size=1G"});
    INFO((line ? std::string() : line.error().message()));
    REQUIRE(line);
    REQUIRE(line->bench.loop);
    CHECK(line->bench.loop->threads == 3);
    const auto wrong = parse({"bench", "--loop", "network:chanels=3"});
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().kind() == ErrorKind::kUsage);
    CHECK(wrong.error().message().find("did you mean 'channels'?") != std::string::npos);
}

TEST_CASE("bench explains itself") {
    for (const auto& line : {parse({"bench", "--help"}), parse({"help", "bench"})}) {
        REQUIRE(line);
        CHECK(line->command == cli::Command::kHelp);
        for (const cli::CommandFlag& flag : cli::kBenchFlags)
            CHECK(line->text.find(fmt::format("--{}", flag.name)) != std::string::npos);
    }
    const auto list = parse({"bench", "--list"});
    REQUIRE(list);
    CHECK(list->bench.list);
}
