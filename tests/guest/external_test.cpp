// SPDX-License-Identifier: Apache-2.0
// Processes that are not ours: what is undone when this one dies, throttling, and the words that
// name them.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/config/option_lookup.hpp"
#include "base/fd.hpp"
#include "guest/external/guardian.hpp"
#include "guest/external/process_guest.hpp"
#include "guest/external/throttle.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/other_process.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::guest {
namespace {

// One that only waits, by as many threads.
class Sleeper {
  public:
    explicit Sleeper(unsigned threads = 1)
        : process_([threads] {
              for (unsigned more = 1; more < threads; ++more) {
                  std::thread([] {
                      while (true) ::pause();
                  }).detach();
              }
          }) {}

    pid_t pid() const { return process_.pid(); }
    // The number of one that is not its first.
    std::string other_thread() const {
        while (true) {
            for (const auto& thread :
                 std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid()))) {
                std::string number = thread.path().filename().string();
                if (number != std::to_string(pid())) return number;
            }
            std::this_thread::yield();
        }
    }
    char state() const {
        std::ifstream status(fmt::format("/proc/{}/status", pid()));
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("State:")) return line[7];
        }
        return '?';
    }
    // Returns true if the process reaches that state within seconds.
    bool becomes(bool stopped) const {
        for (int turn = 0; turn < 5000; ++turn) {
            if ((state() == 'T') == stopped) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }

  private:
    OtherProcess process_;
};

TEST_CASE("a process that was stopped goes on when the one that stopped it is killed") {
    const Sleeper sleeper;
    const pid_t doomed = ::fork();
    if (doomed == 0) {
        auto guardian = Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {});
        if (!guardian || !(*guardian)->entrust({.wake = true})) ::_exit(1);
        static_cast<void>((*guardian)->signal(SIGSTOP));
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(doomed, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(sleeper.becomes(false));
}

TEST_CASE("the guardian does nothing after a normal end") {
    const Sleeper sleeper;
    {
        const auto guardian =
            must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
        must(guardian->entrust({.wake = true}));
        must(guardian->signal(SIGSTOP));
        CHECK(sleeper.becomes(true));
    }
    CHECK(sleeper.state() == 'T');
}

// The child that was forked last, which is a guardian's.
pid_t last_child() {
    std::ifstream children(fmt::format("/proc/self/task/{}/children", ::gettid()));
    pid_t last = 0;
    for (pid_t child = 0; children >> child;) last = child;
    return last;
}

TEST_CASE("a guardian writes into a file whose name is not UTF-8") {
    const TemporaryFolder folder;
    const std::string knob = folder / "cpu\xff.max";
    std::ofstream(knob) << "before";
    const Sleeper sleeper;
    auto guardian = must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
    const pid_t child = last_child();
    must(guardian->entrust({.files = {{knob, "after!"}}}));
    guardian->act();
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    std::string content;
    std::ifstream(knob) >> content;
    CHECK(content == "after!");
}

TEST_CASE("an undo that is too long for a guardian is refused, and none is carried out") {
    const TemporaryFolder folder;
    const std::string knob = folder / "cpu.max";
    std::ofstream(knob) << "before";
    const Sleeper sleeper;
    auto guardian = must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
    must(guardian->entrust({.files = {{knob, "after!"}}}));
    const Undo large{.commands = {std::string(80 * 1024, ' ')}};
    CHECK_THAT(message_of(guardian->entrust(large)), Catch::Contains("at most 65536"));
    CHECK_FALSE(guardian->entrust({}));
    guardian.reset();
    std::string content;
    std::ifstream(knob) >> content;
    CHECK(content == "before");
}

TEST_CASE("a guardian that another process stopped neither holds up the end nor acts later") {
    const Sleeper sleeper;
    auto guardian = must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
    const pid_t child = last_child();
    must(guardian->entrust({.wake = true}));
    must(guardian->signal(SIGSTOP));
    REQUIRE(sleeper.becomes(true));
    REQUIRE(::kill(child, SIGSTOP) == 0);
    guardian.reset();
    CHECK(::kill(child, 0) != 0);
    CHECK(sleeper.state() == 'T');
}

TEST_CASE("a guardian that does not listen any more is ended, and the next undo is refused") {
    const Sleeper sleeper;
    auto guardian = must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
    const pid_t child = last_child();
    REQUIRE(::kill(child, SIGSTOP) == 0);
    const Undo large{.commands = {std::string(32 * 1024, ' ')}};
    Status told;
    for (int time = 0; told && time < 1000; ++time) told = guardian->entrust(large);
    CHECK_THAT(message_of(told), Catch::Contains("tell the process that guards the guest"));
    CHECK(::kill(child, 0) != 0);
    CHECK_FALSE(guardian->entrust({}));
}

TEST_CASE("a throttle by turns stops and continues, and ends with the process running") {
    const Sleeper sleeper;
    const auto guardian = must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
    const auto throttle = Throttle::create(*guardian, sleeper.pid(), 1);
    CHECK_FALSE(throttle->set(100));
    if (!find_cpu_knob(sleeper.pid()).path.empty()) return;
    must(throttle->set(95));
    CHECK(sleeper.becomes(true));
    must(throttle->hold());
    CHECK(sleeper.becomes(false));
    must(throttle->release());
    CHECK(sleeper.becomes(true));
    must(throttle->set(0));
    CHECK(sleeper.becomes(false));
}

TEST_CASE("a throttle by quota takes from what the process has, and never gives it more") {
    const auto quota = [](const char* before, std::size_t cpus, unsigned percent) {
        return cpu_quota({"cpu.max", before, false, 0}, cpus, percent).value_or("?");
    };
    CHECK(quota("max 100000", 4, 50) == "20000 10000");
    // The kernel's least is 1 ms.
    CHECK(quota("max 100000", 1, 99) == "1600 160000");
    // A quarter of one CPU, of which half is left.
    CHECK(quota("25000 100000", 4, 50) == "1250 10000");
    // More than it can use counts as what it can use.
    CHECK(quota("800000 100000", 2, 50) == "10000 10000");
    CHECK(quota("1000 1000000", 1, 99) == "1000 1000000");
    CHECK(quota("", 1, 50) == "?");
    CHECK(quota("some words", 1, 50) == "?");

    const auto old = [](const char* before, std::uint64_t period_us, unsigned percent) {
        return cpu_quota({"cpu.cfs_quota_us", before, true, period_us}, 2, percent).value_or("?");
    };
    CHECK(old("-1", 100'000, 50) == "100000");
    CHECK(old("-1", 10'000, 50) == "10000");
    CHECK(old("50000", 50'000, 90) == "5000");
    CHECK(old("1000", 50'000, 99) == "1000");
    CHECK(old("-1", 0, 50) == "?");
}

TEST_CASE("a cgroup is a process's own only if it has all its threads and no other") {
    const std::string root = "/sys/fs/cgroup/cpu/migrate-test-" + std::to_string(::getpid());
    std::error_code failed;
    if (!std::filesystem::create_directory(root, failed)) {
        WARN("not tested: no cgroup of version 1 can be made here");
        return;
    }
    {
        const Sleeper sleeper(2);
        const std::string pid = std::to_string(sleeper.pid());
        must(write_knob(root + "/cgroup.procs", pid));
        must(write_knob(root + "/cpu.cfs_period_us", "50000"));
        const CpuKnob knob = find_cpu_knob(sleeper.pid());
        CHECK(knob.path == root + "/cpu.cfs_quota_us");
        CHECK(knob.period_us == 50'000);
        const auto guardian =
            must(Guardian::start(must(ProcessClaim::take(sleeper.pid(), "it")), {}));
        const auto throttle = Throttle::create(*guardian, sleeper.pid(), 1);
        must(throttle->set(90));
        CHECK(read_file(knob.path) == "5000\n");
        must(throttle->set(0));
        CHECK(read_file(knob.path) == "-1\n");

        REQUIRE(std::filesystem::create_directory(root + "/below"));
        CHECK(find_cpu_knob(sleeper.pid()).path.empty());
        std::filesystem::remove(root + "/below");
        CHECK_FALSE(find_cpu_knob(sleeper.pid()).path.empty());
        must(write_knob("/sys/fs/cgroup/cpu/tasks", sleeper.other_thread()));
        CHECK(find_cpu_knob(sleeper.pid()).path.empty());
        must(write_knob(root + "/tasks", sleeper.other_thread()));
        CHECK_FALSE(find_cpu_knob(sleeper.pid()).path.empty());
        const Sleeper other;
        must(write_knob(root + "/cgroup.procs", std::to_string(other.pid())));
        CHECK(find_cpu_knob(sleeper.pid()).path.empty());
    }
    std::filesystem::remove(root);
}

// A page of a file that this process and its children have mapped.
struct SharedPage {
    SharedPage() {
        write_file(path, std::string(kPageSize, 'r'));
        const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        mapping = must(Mapping::create({.size = kPageSize,
                                        .protection = PROT_READ | PROT_WRITE,
                                        .flags = MAP_SHARED,
                                        .fd = file.get(),
                                        .what = "the process's memory"}));
    }

    TemporaryFolder folder;
    std::string path = folder / "ram";
    Mapping mapping;
};

TEST_CASE("a stop ends the pause of a process, which goes on then") {
    const SharedPage page;
    const Sleeper sleeper;
    const guest::Machine machine =
        must(open_machine(fmt::format("pid:{},map={},pause=sigstop", sleeper.pid(), page.path)));
    std::stop_source stop;
    stop.request_stop();
    machine.guest->obey(stop.get_token());
    const Status paused = machine.guest->pause();
    REQUIRE_FALSE(paused);
    CHECK(paused.error().kind() == ErrorKind::kCancelled);
    must(machine.guest->resume());
    CHECK(sleeper.becomes(false));
}

TEST_CASE("a freezer of either version stands the process still before pause() returns") {
    const SharedPage page;
    struct Version {
        std::string root;
        std::string file;
        std::string frozen;
    };
    for (const Version& version :
         {Version{"/sys/fs/cgroup/freezer/", "/freezer.state", "FROZEN\n"},
          Version{"/sys/fs/cgroup/unified/", "/cgroup.events", "populated 1\nfrozen 1\n"},
          Version{"/sys/fs/cgroup/", "/cgroup.events", "populated 1\nfrozen 1\n"}}) {
        const std::string group = version.root + "migrate-test-" + std::to_string(::getpid());
        std::error_code failed;
        if (!std::filesystem::create_directory(group, failed)) continue;
        if (std::filesystem::exists(group + version.file)) {
            INFO(group);
            const Sleeper sleeper;
            must(write_knob(group + "/cgroup.procs", std::to_string(sleeper.pid())));
            const guest::Machine machine = must(
                open_machine(fmt::format("pid:{},map={},pause=freezer", sleeper.pid(), page.path)));
            for (int turn = 0; turn < 3; ++turn) {
                must(machine.guest->pause());
                CHECK(read_file(group + version.file) == version.frozen);
                must(machine.guest->resume());
            }
        }
        std::filesystem::remove(group);
    }
}

TEST_CASE("a source that is a QEMU or a process is refused where its words are wrong") {
    const auto refused = [](const std::string& uri, bool sink) {
        INFO(uri);
        const ErrorKind kind =
            sink ? open_destination(uri).error().kind() : open_machine(uri).error().kind();
        CHECK(kind == ErrorKind::kUsage);
    };
    for (const std::string words :
         {"", ",pid=3", "vm.qmp,pid=", "vm.qmp,pid=-1", "vm.qmp,pid=x", "vm.qmp,size=1"}) {
        refused("qemu:" + words, false);
        refused("qemu:" + words, true);
    }
    const QemuAddress address =
        qemu_source_address(must(parse_form_of<"source">("qemu:vm.qmp,pid=7")));
    CHECK(address.socket == "vm.qmp");
    CHECK(address.pid == 7);
    CHECK(address.unseen == UnseenProcesses::kRefuse);
    const std::string allows = "qemu:vm.qmp,unseen-processes=allow";
    CHECK(qemu_sink_address(must(parse_form_of<"sink">(allows))).unseen == UnseenProcesses::kAllow);
    refused(allows, false);
    refused("qemu:vm.qmp,unseen-processes=x", true);
    CHECK(address.differences == MachineDifferences::kRefuse);
    const std::string warns = "qemu:vm.qmp,machine-differences=warn";
    CHECK(qemu_source_address(must(parse_form_of<"source">(warns))).differences ==
          MachineDifferences::kWarn);
    CHECK(qemu_sink_address(must(parse_form_of<"sink">(warns))).differences ==
          MachineDifferences::kWarn);
    refused("qemu:vm.qmp,machine-differences=maybe", false);
    refused("qemu:vm.qmp,machine-differences=maybe", true);
    for (const std::string words :
         {"", "x,map=/f", "0,map=/f", "1", "1,pause=none", "1,map=/f,pause=no", "1,file=/f"}) {
        refused("pid:" + words, false);
    }
    CHECK_FALSE(open_machine("qemu:/nowhere/vm.qmp"));
    CHECK_FALSE(open_destination("qemu:/nowhere/vm.qmp"));
}

TEST_CASE("a QEMU's state is taken whole or not at all") {
    std::string state;
    for (const MoveMethod method : {MoveMethod::kRamBlocks, MoveMethod::kSharedFiles}) {
        for (const bool ran : {true, false}) {
            state = encode_qemu_state({method, ran, "stream"});
            const QemuState decoded = must(decode_qemu_state(state));
            CHECK(decoded.method == method);
            CHECK(decoded.ran == ran);
            CHECK(decoded.stream == "stream");
        }
    }
    for (std::size_t size = 0; size <= state.size() - 6; ++size) {
        CHECK_FALSE(decode_qemu_state(std::string_view(state).substr(0, size)));
    }
    std::string other = state;
    other[4] = 1;
    CHECK_FALSE(decode_qemu_state(other));
    other = state;
    other[5] = 7;
    CHECK_FALSE(decode_qemu_state(other));
    CHECK_FALSE(load_process("MPRC"));
    CHECK(load_process("MPRC\1"));
}

TEST_CASE("a destination takes the kinds of guests that it can") {
    const Destination memfd = must(open_destination("memfd:"));
    must(memfd.check({.kind = ""}));
    must(memfd.check({.kind = "workload"}));
    must(memfd.check({.kind = "process"}));
    CHECK_THAT(message_of(memfd.check({.kind = "qemu"})), Catch::Contains("qemu:SOCKET"));
    CHECK_THAT(message_of(memfd.check({.kind = "xen"})), Catch::Contains("'xen'"));
    const Destination null = must(open_destination("null:"));
    must(null.check({.kind = "process"}));
    CHECK_THAT(message_of(null.check({.kind = "workload"})), Catch::Contains("anon:"));
}

}  // namespace
}  // namespace migrate::guest
