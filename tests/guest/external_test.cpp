// Processes that are not ours: what is undone when this one dies, throttling, and the words that
// name them.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "guest/external/guardian.hpp"
#include "guest/external/process_guest.hpp"
#include "guest/external/throttle.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "tests/catch.hpp"
#include "tests/memory/must.hpp"

namespace migrate::guest {
namespace {

// One that only waits.
class Sleeper {
  public:
    Sleeper() : pid_(::fork()) {
        REQUIRE(pid_ >= 0);
        while (pid_ == 0) ::pause();
    }
    ~Sleeper() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    pid_t pid() const { return pid_; }
    char state() const {
        std::ifstream status(fmt::format("/proc/{}/status", pid_));
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("State:")) return line[7];
        }
        return '?';
    }
    // Whether it comes to be stopped, or not, within seconds.
    bool becomes(bool stopped) const {
        for (int turn = 0; turn < 5000; ++turn) {
            if ((state() == 'T') == stopped) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }

  private:
    pid_t pid_;
};

TEST_CASE("a process that was stopped goes on when the one that stopped it is killed") {
    const Sleeper sleeper;
    const pid_t doomed = ::fork();
    if (doomed == 0) {
        auto guardian = Guardian::start(sleeper.pid(), {});
        if (!guardian || !(*guardian)->entrust({.wake = true})) ::_exit(1);
        static_cast<void>((*guardian)->signal(SIGSTOP));
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(doomed, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(sleeper.becomes(false));
}

TEST_CASE("what was entrusted is not done when all ends as it should") {
    const Sleeper sleeper;
    {
        const auto guardian = must(Guardian::start(sleeper.pid(), {}));
        must(guardian->entrust({.wake = true}));
        must(guardian->signal(SIGSTOP));
        CHECK(sleeper.becomes(true));
    }
    CHECK(sleeper.state() == 'T');
}

TEST_CASE("a throttle by turns stops and continues, and ends with the process running") {
    const Sleeper sleeper;
    const auto guardian = must(Guardian::start(sleeper.pid(), {}));
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

TEST_CASE("a source that is a QEMU or a process is refused where its words are wrong") {
    for (const char* words :
         {"", ",pid=3", "vm.qmp,pid=", "vm.qmp,pid=-1", "vm.qmp,pid=x", "vm.qmp,size=1"}) {
        INFO(words);
        CHECK_FALSE(parse_qemu_address("qemu:", words));
    }
    const QemuAddress address = must(parse_qemu_address("qemu:vm.qmp,pid=7", "vm.qmp,pid=7"));
    CHECK(address.socket == "vm.qmp");
    CHECK(address.pid == 7);
    for (const char* words :
         {"", "x,map=/f", "0,map=/f", "1", "1,pause=none", "1,map=/f,pause=no", "1,file=/f"}) {
        INFO(words);
        const auto machine = open_process_machine("pid:", words);
        REQUIRE_FALSE(machine);
        CHECK(machine.error().kind() == ErrorKind::kUsage);
    }
    CHECK_FALSE(open_machine("qemu:/nowhere/vm.qmp"));
    CHECK_FALSE(open_destination("qemu:/nowhere/vm.qmp"));
}

TEST_CASE("a QEMU's state is taken whole or not at all") {
    const std::string state = encode_qemu_state(false, "stream");
    const QemuState decoded = must(decode_qemu_state(state));
    CHECK_FALSE(decoded.ran);
    CHECK(decoded.stream == "stream");
    for (std::size_t size = 0; size <= state.size() - 6; ++size) {
        CHECK_FALSE(decode_qemu_state(std::string_view(state).substr(0, size)));
    }
    std::string other = state;
    other[4] = 2;
    CHECK_FALSE(decode_qemu_state(other));
    other = state;
    other[5] = 7;
    CHECK_FALSE(decode_qemu_state(other));
    CHECK_FALSE(load_process("MPRC"));
    CHECK(load_process("MPRC\1"));
}

TEST_CASE("a destination takes the kinds of guests that it can") {
    const Destination memfd = must(open_destination("memfd:"));
    must(memfd.check(""));
    must(memfd.check("workload"));
    must(memfd.check("process"));
    CHECK_THAT(message_of(memfd.check("qemu")), Catch::Contains("qemu:SOCKET"));
    CHECK_THAT(message_of(memfd.check("xen")), Catch::Contains("'xen'"));
    const Destination null = must(open_destination("null:"));
    must(null.check("process"));
    CHECK_THAT(message_of(null.check("workload")), Catch::Contains("anon:"));
}

}  // namespace
}  // namespace migrate::guest
