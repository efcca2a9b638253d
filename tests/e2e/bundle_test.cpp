// SPDX-License-Identifier: Apache-2.0
// A guest that is written into a bundle, and loaded from it: as often as one likes, with every
// write, or not at all.
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <random>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_image.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr const char* kBusyGuest = "workload:16M,rate=100,threads=2,warm-up=0";

bool has_file(const std::string& folder, const std::string& begin) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        if (entry.path().filename().string().starts_with(begin)) return true;
    }
    return false;
}

std::string file_in(const std::string& folder, const std::string& begin) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().filename().string().starts_with(begin)) return entry.path();
    }
    FAIL("no file " << begin);
    return {};
}

// Parks a guest in the folder.
nlohmann::json park(const TemporaryFolder& folder, const std::string& bundle,
                    const std::string& source = kBusyGuest,
                    const std::vector<std::string>& options = {}) {
    LiveRun run(folder, source, options, {"--sink", "bundle:" + bundle});
    const int sent = run.sender.wait();
    const int received = run.receiver->wait();
    INFO(run.sender.both() << run.receiver->both());
    REQUIRE(sent == 0);
    REQUIRE(received == 0);
    CHECK_FALSE(guest_went_on(run.sender));
    CHECK_FALSE(guest_went_on(run.receiver.process()));
    CHECK(gave_guest_away(run.sender));
    return run.sent();
}

// The guest continues from the bundle with all its memory.
void load(const TemporaryFolder& folder, const std::string& bundle,
          const std::vector<std::string>& options = {}) {
    LiveRun run(folder, "bundle:" + bundle, options);
    check_arrived(run);
}

// Fails before any receiver is asked; the message names the reason.
void check_rejected(const std::string& bundle, const std::string& reason, int code = 3) {
    Process sender({"send", "--connect", "127.0.0.1:1", "--source", "bundle:" + bundle});
    CHECK(sender.wait() == code);
    CHECK_THAT(sender.err(), Contains(reason));
    CHECK_THAT(sender.err(), !Contains("connect to"));
}

TEST_CASE("a guest continues from a bundle with every write, and can be loaded again", "[live]") {
    const TemporaryFolder parent;
    const TemporaryFolder folder;
    const std::string bundle = parent / "bundle";
    park(folder, bundle, "workload:64M,rate=100,threads=2,working-set=24M,warm-up=0",
         {"--verify", "digest", "--downtime-limit", kAnyDowntime});
    struct stat status {};
    const std::string memory = file_in(bundle, "memory-0.");
    REQUIRE(::stat(memory.c_str(), &status) == 0);
    CHECK(status.st_size == 64 * 1024 * 1024);
    CHECK(status.st_blocks <= 25 * 1024 * 2);
    load(folder, bundle, {"--verify", "digest", "--downtime-limit", kAnyDowntime});
    load(folder, bundle, {"--multifd-compression", "lz4"});
    load(folder, bundle, {"--skip-unpopulated", "off", "--zero-page-detection", "none"});
}

TEST_CASE("a guest continues from a bundle that it was parked in by other means", "[live]") {
    const TemporaryFolder parent;
    const TemporaryFolder folder;
    const std::string bundle = parent / "bundle";
    for (const std::vector<std::string>& options : std::vector<std::vector<std::string>>{
             {"--multifd-compression", "zstd"},
             {"--multifd-device-state", "off"},
             {"--dirty-tracker", "hash"},
             {"--zero-page-detection", "none", "--skip-unpopulated", "off"}}) {
        park(folder, bundle, kBusyGuest, options);
        load(folder, bundle);
    }
}

// Kills the receiver that writes the bundle. Returns true if the guest was the receiver's.
bool park_and_kill(const TemporaryFolder& folder, const std::string& bundle, std::mt19937& random,
                   bool late) {
    LiveRun run(folder, kBusyGuest, {"--reconnect-timeout", "0"}, {"--sink", "bundle:" + bundle});
    Process& writer = run.receiver.process();
    if (!late) {
        const milliseconds when(std::uniform_int_distribution<int>(0, 400)(random));
        return kill_receiver(run, when);
    }
    // The last steps take a few milliseconds, which a random moment of the whole would seldom meet.
    const auto writes_devices = [&] { return has_file(bundle, "devices."); };
    while (!writes_devices() && !writer.ended_within(milliseconds(0))) {
    }
    return kill_receiver(run, milliseconds(std::uniform_int_distribution<int>(0, 4)(random)));
}

// Returns true if there was a complete bundle.
bool check_fresh(const TemporaryFolder& folder, const std::string& bundle, bool handed_over) {
    if (has_file(bundle, "manifest.json")) {
        // A source that keeps its guest never leaves a second one behind.
        CHECK(handed_over);
        load(folder, bundle);
        return true;
    }
    check_rejected(bundle, "no complete bundle");
    return false;
}

void kill_writers(int turns, int first) {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed() + static_cast<unsigned>(first));
    int complete = 0;
    int rejected = 0;
    int given = 0;
    for (int turn = first; turn < first + turns; ++turn) {
        const TemporaryFolder parent;
        const std::string bundle = parent / "bundle";
        INFO("seed " << test_seed() << ", turn " << turn);
        const bool replaces = turn % 5 == 4;
        if (replaces) park(folder, bundle);
        const bool handed_over = park_and_kill(folder, bundle, random, turn % 2 == 0);
        given += handed_over ? 1 : 0;
        if (replaces) {
            // The old one or the new one.
            load(folder, bundle);
            ++complete;
        } else if (check_fresh(folder, bundle, handed_over)) {
            ++complete;
        } else {
            ++rejected;
        }
    }
    WARN("seed " << test_seed() << ": " << turns << " writers killed, " << given
                 << " after the handover: " << complete << " bundles were complete, " << rejected
                 << " rejected");
    CHECK(complete + rejected == turns);
}

// 50 moments.
TEST_CASE("a killed writer leaves a complete bundle or none, part 1", "[live][part-1]") {
    kill_writers(13, 0);
}
TEST_CASE("a killed writer leaves a complete bundle or none, part 2", "[live][part-2]") {
    kill_writers(13, 13);
}
TEST_CASE("a killed writer leaves a complete bundle or none, part 3", "[live][part-3]") {
    kill_writers(12, 26);
}
TEST_CASE("a killed writer leaves a complete bundle or none, part 4", "[live][part-4]") {
    kill_writers(12, 38);
}

TEST_CASE("a bundle that was changed or damaged is rejected by the name of the file", "[live]") {
    const TemporaryFolder parent;
    const TemporaryFolder folder;
    const std::string whole = parent / "whole";
    const std::string bundle = parent / "damaged";
    park(folder, whole, "workload:4M,rate=10,warm-up=0");
    const auto damage = [&](const std::string& begin, const auto& change) {
        std::filesystem::remove_all(bundle);
        std::filesystem::copy(whole, bundle);
        const std::string path = file_in(bundle, begin);
        change(path);
        check_rejected(bundle, path);
    };
    for (const char* begin : {"memory-0.", "devices.", "manifest.json"}) {
        damage(begin, [](const std::string& path) {
            std::string content = read_file(path);
            content[content.size() / 2] ^= 1;
            write_file(path, content);
        });
        damage(begin, [](const std::string& path) {
            REQUIRE(::truncate(path.c_str(),
                               static_cast<off_t>(std::filesystem::file_size(path) / 2)) == 0);
        });
        damage(begin, [&](const std::string& path) {
            std::filesystem::rename(path, parent / "moved");
            std::filesystem::create_symlink(parent / "moved", path);
        });
        damage(begin, [](const std::string& path) {
            std::filesystem::remove(path);
            REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        });
    }
    for (const char* begin : {"memory-0.", "devices."}) {
        damage(begin, [](const std::string& path) { std::filesystem::remove(path); });
    }
    // Pages that became a hole.
    damage("memory-0.", [](const std::string& path) {
        const auto size = static_cast<off_t>(std::filesystem::file_size(path));
        REQUIRE(::truncate(path.c_str(), size / 2) == 0);
        REQUIRE(::truncate(path.c_str(), size) == 0);
    });
    load(folder, whole);
}

TEST_CASE("what is no bundle is refused before anything is written or read", "[live]") {
    const TemporaryFolder parent;
    write_file(parent / "file", "content");
    check_rejected(parent / "nothing", "No such file", 2);
    check_rejected(parent / "file", "not a folder", 2);
    check_rejected(parent.path(), "no complete bundle");
    for (const std::string& sink : {parent.path(), parent / "file"}) {
        Process receiver({"recv", "--listen", "127.0.0.1:0", "--sink", "bundle:" + sink});
        CHECK(receiver.wait() == 2);
        CHECK_THAT(receiver.err(), Contains(sink));
    }
    CHECK(read_file(parent / "file") == "content");
    CHECK(parent.names().size() == 1);
}

TEST_CASE("a source that is a bundle cannot be quit", "[live]") {
    const TemporaryFolder parent;
    const TemporaryFolder folder;
    const std::string bundle = parent / "bundle";
    park(folder, bundle, "workload:4M,warm-up=0");
    Process sender({"send", "--connect", "127.0.0.1:1", "--source", "bundle:" + bundle,
                    "--quit-source", "on"});
    CHECK(sender.wait() == 2);
    CHECK_THAT(sender.err(), Contains("quit-source needs a QEMU"));
}

TEST_CASE("a bundle that is written is used by nobody else", "[live]") {
    const TemporaryFolder parent;
    const std::string bundle = parent / "bundle";
    Receiver receiver({"--sink", "bundle:" + bundle});
    Process second({"recv", "--listen", "127.0.0.1:0", "--sink", "bundle:" + bundle});
    CHECK(second.wait() == 3);
    CHECK_THAT(second.err(), Contains("another migrate uses the bundle"));
    check_rejected(bundle, "another migrate writes the bundle");
}

TEST_CASE("a bundle takes a guest and nothing else", "[live]") {
    const TemporaryFolder parent;
    Receiver receiver({"--sink", "bundle:" + (parent / "bundle")});
    struct Refused {
        std::string source;
        std::vector<std::string> options;
        const char* reason;
    };
    for (const Refused& refused :
         {Refused{"anon:4M", {}, "a memory image: use the sink file:PATH"},
          Refused{"workload:4M,warm-up=0", {"--repeat", "1"}, "without --repeat"},
          Refused{"workload:4M,warm-up=0", {"--devices", "sim:gpu,size=4K"}, "sim:"}}) {
        Process sender(send_arguments(receiver, refused.source, refused.options));
        CHECK(sender.wait() == 3);
        CHECK_THAT(sender.err(), Contains(refused.reason));
    }
    // It serves the next sender.
    Process sender(send_arguments(receiver, "workload:4M,warm-up=0"));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
}

TEST_CASE("an interrupted write leaves the guest at its source and nothing in the folder",
          "[live]") {
    const TemporaryFolder parent;
    const TemporaryFolder folder;
    const std::string bundle = parent / "bundle";
    LiveRun run(folder, "workload:64M,rate=100,warm-up=0", {"--max-bandwidth", "30M/s"},
                {"--sink", "bundle:" + bundle});
    REQUIRE(run.sender.await([&] { return has_file(bundle, "memory-0."); }));
    run.receiver->signal(SIGINT);
    CHECK(run.receiver->wait() == 4);
    CHECK(run.sender.wait() == 4);
    CHECK(guest_went_on(run.sender));
    CHECK(std::filesystem::is_empty(bundle));
}

#ifdef MIGRATE_HUNG_CALLS

TEST_CASE("a disk that takes longer than io-timeout delays the write and does not fail it",
          "[live]") {
    const TemporaryFolder parent;
    const TemporaryFolder folder;
    const std::string bundle = parent / "bundle";
    Receiver receiver(
        {"--sink", "bundle:" + bundle, "--io-timeout", "1s"},
        {.environment = {std::string("LD_PRELOAD=") + MIGRATE_HUNG_CALLS, "SLOW_SYNC_MS=1800"}});
    Process sender(send_arguments(
        receiver, kBusyGuest,
        {"--io-timeout", "1s", "--downtime-limit", "1s", "--stats", folder / "send.json"}));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    INFO(sender.both() << receiver->both());
    // The delay belongs to a round in which the guest ran, and not to its pause.
    CHECK(read_stats(folder / "send.json")["rounds"].size() > 2);
    load(folder, bundle);
}

#endif

TEST_CASE("a disk that is full fails the write, and the guest goes on at its source", "[live]") {
    const TemporaryMount disk("tmpfs", "size=8M");
    if (!disk) return;
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:32M,rate=50,warm-up=0", {},
                {"--sink", "bundle:" + (disk.folder() / "bundle")});
    CHECK(run.sender.wait() == 1);
    CHECK(run.receiver->wait() == 1);
    CHECK_THAT(run.receiver->both(), Contains("No space left"));
    CHECK(guest_went_on(run.sender));
    CHECK(std::filesystem::is_empty(disk.folder() / "bundle"));
}

}  // namespace
}  // namespace migrate::e2e
