// SPDX-License-Identifier: Apache-2.0
// Migrations of a user who may have few threads or little memory: they end soon, with a reason, and
// one side has the guest.
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include "catch.hpp"
#include "e2e/live_run.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

#ifndef MIGRATE_UNDER_SANITIZER
constexpr milliseconds kEndsWithin{30'000};

// Each limited process is the only one of its user, so that all of the limit is its own.
class LimitedProgram {
  public:
    LimitedProgram() {
        // The users are of the group that made it.
        using std::filesystem::perms;
        std::filesystem::permissions(
            folder_.path(),
            perms::group_exec | perms::group_read | perms::others_exec | perms::others_read,
            std::filesystem::perm_options::add);
        // The build folder may be closed to other users.
        std::filesystem::copy_file(MIGRATE_BINARY, folder_ / "migrate");
    }

    // `limit` is an option of prlimit.
    std::vector<std::string> under(const std::string& limit) {
        return {"/usr/bin/setpriv",
                "--reuid",
                std::to_string(1'000'000 + ::getpid() % 100'000 * 100 + users_++ % 100),
                "--clear-groups",
                "/usr/bin/prlimit",
                limit,
                folder_ / "migrate"};
    }

  private:
    TemporaryFolder folder_;
    int users_ = 0;
};

bool may_limit() {
    if (::geteuid() == 0) return true;
    WARN("skipped: only root may become the users that are limited");
    return false;
}

struct Work {
    std::string source;
    std::vector<std::string> options;
    bool has_guest;
};

const std::vector<Work>& works() {
    static const std::vector<Work> all{
        {"anon:8M,fill=random", {"--verify", "digest"}, false},
        {"workload:8M,rate=10,threads=2,warm-up=0",
         {"--run-for", "20ms", "--downtime-limit", kAnyDowntime},
         true},
        {"workload:8M,rate=10,threads=2,warm-up=0",
         {"--run-for", "20ms", "--downtime-limit", kAnyDowntime, "--verify", "digest", "--devices",
          "sim:a,count=3,size=1M sim:net0,count=2,size=1M"},
         true}};
    return all;
}

void check_names_the_limit(const Process& limited) {
    CHECK_THAT(limited.err(), Contains("cannot start ") || Contains("Cannot allocate memory") ||
                                  Contains("out of memory"));
}

// Returns true if both sides succeeded; if not, each says why, and the guest is at the source.
void check_outcome(const Work& work, Process& sender, Receiver& receiver, bool limits_sender) {
    const int sent = sender.wait(kEndsWithin);
    if (sent != 0 && receiver->err().find("connected:") == std::string::npos &&
        !receiver->ended_within(milliseconds(500))) {
        receiver->signal(SIGINT);  // its sender did not come
    }
    const int received = receiver->wait(kEndsWithin);
    INFO("sender: " << sender.both() << "\nreceiver: " << receiver->both());
    // Ended by itself, neither by a signal nor by std::terminate().
    CHECK(sent < 128);
    CHECK(received < 128);
    CHECK((sent == 0) == (received == 0));
    if (sent == 0) return;
    check_names_the_limit(limits_sender ? sender : receiver.process());
    if (work.has_guest && sender.err().find("vCPUs: cannot start") == std::string::npos &&
        sender.out().find("status: failed") != std::string::npos) {
        CHECK_THAT(sender.out(), Contains("guest: workload, running"));
    }
}

void try_limit(LimitedProgram& program, const std::string& limit, bool at_sender) {
    for (const Work& work : works()) {
        INFO(limit << (at_sender ? " at the sender: " : " at the receiver: ") << work.source << ", "
                   << work.options.size() << " options");
        const std::vector<std::string> sink{"--sink", "anon:", "--run-for", "20ms"};
        std::optional<Receiver> receiver;
        if (at_sender) {
            receiver.emplace(sink);
        } else {
            receiver.emplace(Receiver::Under{program.under(limit)}, sink);
            if (!receiver->listens()) {
                INFO("receiver: " << (*receiver)->both());
                const int ended = (*receiver)->wait(kEndsWithin);
                CHECK(ended != 0);
                CHECK(ended < 128);
                check_names_the_limit(receiver->process());
                continue;
            }
        }
        std::vector<std::string> words = send_arguments(*receiver, work.source, work.options);
        // A receiver that fails while it waits for its sender's return cannot tell it.
        words.insert(words.end(), {"--verbose", "--reconnect-timeout", "3s"});
        std::optional<Process> sender;
        if (at_sender) {
            std::vector<std::string> under = program.under(limit);
            const std::string first = under.front();
            under.erase(under.begin());
            under.insert(under.end(), words.begin(), words.end());
            sender.emplace(first, under);
        } else {
            sender.emplace(words);
        }
        check_outcome(work, *sender, *receiver, at_sender);
    }
}

// Tries every number of threads from `first` to `last` as the limit of one side.
void try_thread_limits(int first, int last, bool at_sender) {
    if (!may_limit()) return;
    LimitedProgram program;
    for (int threads = first; threads <= last; ++threads) {
        try_limit(program, "--nproc=" + std::to_string(threads), at_sender);
    }
}

void try_memory_limits(bool at_sender) {
    if (!may_limit()) return;
    LimitedProgram program;
    for (const int megabytes : {110, 130, 150, 170, 200, 260, 400}) {
        try_limit(program, "--as=" + std::to_string(megabytes) + "000000", at_sender);
    }
    for (const int megabytes : {24, 32, 48, 64, 90}) {
        try_limit(program, "--data=" + std::to_string(megabytes) + "000000", at_sender);
    }
}

TEST_CASE("a limit of 1 to 10 threads at the sender ends a migration with a reason",
          "[limits][part-1]") {
    try_thread_limits(1, 10, true);
}

TEST_CASE("a limit of 11 to 20 threads at the sender ends a migration with a reason, or is enough",
          "[limits][part-2]") {
    try_thread_limits(11, 20, true);
}

TEST_CASE("a limit of 1 to 10 threads at the receiver ends a migration with a reason",
          "[limits][part-3]") {
    try_thread_limits(1, 10, false);
}

TEST_CASE(
    "a limit of 11 to 20 threads at the receiver ends a migration with a reason, or is enough",
    "[limits][part-4]") {
    try_thread_limits(11, 20, false);
}

TEST_CASE("a limit on the sender's memory ends a migration with a reason and never hangs it",
          "[limits][part-1]") {
    try_memory_limits(true);
}

TEST_CASE("a limit on the receiver's memory ends a migration with a reason and never hangs it",
          "[limits][part-3]") {
    try_memory_limits(false);
}
#endif

TEST_CASE("a sink that may be too small is named on both sides before the first page") {
    const TemporaryMount small("tmpfs", "size=1m");
    if (!small) {
        WARN("no file system can be mounted here; the case is not covered");
        return;
    }
    const std::string copy = small.folder() / "copy";
    const std::string warning =
        "the guest has 2.00 MiB, and the file system of " + copy + " has room for 1";
    for (const char* const fill : {"untouched", "random"}) {
        Receiver receiver({"--sink", "file:" + copy});
        Process sender(send_arguments(receiver, std::string("anon:2M,fill=") + fill));
        const bool fits = fill == std::string_view("untouched");
        CHECK((sender.wait() == 0) == fits);
        CHECK((receiver->wait() == 0) == fits);
        CHECK_THAT(receiver->err(), Contains(warning) && Contains("free space there"));
        CHECK_THAT(sender.err(), Contains("the receiver says: " + warning));
    }
}

TEST_CASE("sides with different io-timeouts migrate, and each is judged by the other's own",
          "[live]") {
    const TemporaryFolder folder;
    // Shorter ones than the first would measure how busy the machine is.
    for (const char* sends : {"400ms", "1s", "30s"}) {
        for (const char* receives : {"400ms", "1s", "30s"}) {
            INFO("the sender's io-timeout " << sends << ", the receiver's " << receives);
            // Two seconds at the least, in which the main channel has nothing to say.
            LiveRun run(folder, "workload:32M,rate=4,warm-up=0",
                        {"--io-timeout", sends, "--max-bandwidth", "16M/s"},
                        {"--sink", "anon:", "--io-timeout", receives});
            check_arrived(run);
        }
    }
}

}  // namespace
}  // namespace migrate::e2e
