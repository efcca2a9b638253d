// SPDX-License-Identifier: Apache-2.0
// A running guest moved between two processes: it goes on at exactly one side, with every write.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "tests/support/huge_pool.hpp"
#include "tests/support/other_process.hpp"
#include "tests/support/thread_sanitizer.hpp"

namespace migrate::e2e {
namespace {

// Moves a guest with this pattern of writes, in every memory and with every tracker.
void check_pattern_arrives(const std::string& pattern) {
    const TemporaryFolder folder;
    for (const char* memory : {"anon", "memfd"}) {
        for (const char* tracker : {"auto", "hash"}) {
            INFO(pattern << " " << memory << " " << tracker);
            LiveRun run(folder,
                        "workload:48M,rate=100,threads=2,working-set=32M,pattern=" + pattern +
                            ",memory=" + memory,
                        {"--dirty-tracker", tracker, "--verify", "digest"});
            check_arrived(run);
        }
    }
}

TEST_CASE("a guest that writes sequentially goes on at the receiver with every write",
          "[live][part-1]") {
    check_pattern_arrives("sequential");
}

TEST_CASE("a guest that writes all over goes on at the receiver with every write",
          "[live][part-1]") {
    check_pattern_arrives("uniform");
}

TEST_CASE("a guest that writes to a hot spot goes on at the receiver with every write",
          "[live][part-2]") {
    check_pattern_arrives("hot-spot");
}

TEST_CASE("a guest in huge pages goes on at the receiver with every write", "[live]") {
    constexpr std::uint64_t kPages = 24;
    const memory::HugePool pool(kPages);
    if (!pool) return;
    const TemporaryFolder folder;
    for (const char* tracker : {"auto", "hash"}) {
        for (const char* sink : {"anon:", "memfd:"}) {
            INFO(tracker << " " << sink);
            LiveRun run(folder, "workload:48M,rate=100,threads=2,memory=hugetlb",
                        {"--dirty-tracker", tracker, "--verify", "digest"}, {"--sink", sink});
            check_arrived(run);
        }
    }
    LiveRun stays(folder, "workload:48M,rate=100,memory=hugetlb",
                  {"--max-bandwidth", "20M/s", "--deadline", "1s"});
    CHECK(stays.sender.wait() == 5);
    CHECK(stays.receiver->wait() == 5);
    INFO(stays.sender.both() << stays.receiver->both());
    CHECK(judge_guest(stays.sender, stays.receiver.process()) == GuestPlace::kSender);
}

TEST_CASE("reading all memory of a live guest fills none of its holes", "[live]") {
    constexpr std::uint64_t kPages = 4096;
    const TemporaryFolder folder("/dev/shm");
    const std::string path = folder / "memory";
    write_sparse_file(path, kPages, {1, 2, 3});
    const OtherProcess guest([&path] {
        const int file = ::open(path.c_str(), O_RDWR);
        if (::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) ==
            MAP_FAILED) {
            std::abort();
        }
    });
    for (const char* detection : {"multifd", "legacy", "none"}) {
        INFO(detection);
        Receiver receiver({"--sink", "null:"});
        Process sender(
            send_arguments(receiver, fmt::format("pid:{},map={}", guest.pid(), path),
                           {"--skip-unpopulated", "off", "--zero-page-detection", detection}));
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
        INFO(sender.both());
        struct stat status {};
        REQUIRE(::stat(path.c_str(), &status) == 0);
        CHECK(static_cast<std::uint64_t>(status.st_blocks) * 512 == 3 * kPageSize);
    }
}

TEST_CASE("a guest arrives through compression, the legacy scan and with acknowledgement",
          "[live]") {
    const TemporaryFolder folder;
    const std::vector<std::vector<std::string>> variants{
        {"--multifd-compression", "lz4"},
        {"--multifd-compression", "zstd", "--dirty-tracker", "hash"},
        {"--zero-page-detection", "legacy"},
        {"--zero-page-detection", "none", "--multifd-packet-size", "4K"},
        {"--switchover-ack", "on", "--multifd-normal-page-ratio", "100"}};
    for (const std::vector<std::string>& options : variants) {
        INFO(options[0] << " " << options[1]);
        LiveRun run(folder, "workload:32M,rate=50", options);
        check_arrived(run);
    }
}

TEST_CASE("pages that the guest writes again before their turn are sent later, and none is lost",
          "[live][part-2]") {
    const TemporaryFolder folder;
    struct Variant {
        std::string memory;
        std::vector<std::string> options;
    };
    const std::vector<Variant> variants{
        {"anon", {"--zero-page-detection", "multifd"}},
        {"memfd", {"--zero-page-detection", "legacy"}},
        {"memfd", {"--zero-page-detection", "dsa-accel", "--accel-path", "softdsa:2"}},
        {"anon", {"--dirty-tracker", "hash"}}};
    for (const Variant& variant : variants) {
        INFO(variant.options[1]);
        std::vector<std::string> options = variant.options;
        options.insert(options.end(),
                       {"--max-bandwidth", "120M/s", "--avail-switchover-bandwidth", "120M/s",
                        "--downtime-limit", "300ms", "--max-downtime", "20s"});
        // The guest writes all of it in the time that a part of it takes. Each channel has several
        // parts, since it looks at the first one at once.
        LiveRun run(folder, "workload:48M,rate=400,pattern=uniform,memory=" + variant.memory,
                    options);
        check_arrived(run);
        const nlohmann::json sent = run.sent();
        INFO(sent.dump(1));
        const bool can_look = sent["guest"]["dirty-tracker"] == "uffd-wp";
        CHECK((sent["ram"]["postponed-pages"] > 0) == can_look);
        const nlohmann::json& rounds = sent["rounds"];
        for (std::size_t i = 1; i < rounds.size(); ++i) {
            // They are among those that the guest dirtied.
            CHECK(rounds[i]["postponed"] <= rounds[i]["dirty-pages"]);
            // In a stall every page is sent.
            if (rounds[i - 1]["stalled"] == true) CHECK(rounds[i]["postponed"] == 0);
        }
    }
}

TEST_CASE("a guest that dirties faster than the link carries stays, and the reason is reported",
          "[live]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:64M,rate=150",
                {"--max-bandwidth", "50M/s", "--avail-switchover-bandwidth", "50M/s", "--deadline",
                 "3s", "--downtime-limit", "50ms"});
    CHECK(run.sender.wait() == 5);
    CHECK(run.receiver->wait() == 5);
    INFO(run.sender.both());
    CHECK(guest_went_on(run.sender));
    CHECK_FALSE(guest_went_on(run.receiver.process()));
    CHECK(run.sender.err().find("the deadline of 3000 ms has passed") != std::string::npos);
    CHECK(run.sender.err().find("MiB/s") != std::string::npos);
    CHECK(run.sent()["guest"]["state"] == "running");
}

TEST_CASE("with auto-converge, or a deadline that switches, the same guest arrives",
          "[live][part-2]") {
    const TemporaryFolder folder;
    const std::vector<std::vector<std::string>> countermeasures{
        {"--auto-converge", "on", "--cpu-throttle-increment", "40"},
        {"--max-downtime", "20s"},
        {"--deadline", "2s", "--on-deadline", "switch"}};
    for (std::vector<std::string> options : countermeasures) {
        INFO(options[0]);
        options.insert(options.end(), {"--max-bandwidth", "50M/s", "--avail-switchover-bandwidth",
                                       "50M/s", "--downtime-limit", "50ms"});
        LiveRun run(folder, "workload:48M,rate=150", options);
        check_arrived(run);
    }
}

TEST_CASE("a sink that cannot run a guest is refused by name, and the guest stays", "[live]") {
    const TemporaryFolder folder;
    for (const std::string& sink : {std::string("null:"), "file:" + (folder / "image")}) {
        LiveRun run(folder, "workload:16M,rate=10", {}, {"--sink", sink, "--listen-timeout", "5s"});
        CHECK(run.sender.wait() == 3);
        INFO(run.sender.both());
        CHECK(run.sender.err().find("use the sink anon: or memfd:") != std::string::npos);
        CHECK(guest_went_on(run.sender));
        run.receiver->signal(SIGINT);
        run.receiver->wait();
    }
}

}  // namespace
}  // namespace migrate::e2e
