// SPDX-License-Identifier: Apache-2.0
// Descriptors that the program is started without, or with, and those that its children get.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <vector>

#include "catch.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/other_process.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;

// Returns the target of each descriptor of a process: "socket:[123]", "/dev/null".
std::map<int, std::string> descriptors_of(pid_t pid) {
    std::map<int, std::string> found;
    std::error_code failed;
    for (const auto& entry :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), failed)) {
        found[std::stoi(entry.path().filename())] =
            std::filesystem::read_symlink(entry.path(), failed).string();
    }
    return found;
}

bool closes_on_exec(pid_t pid, int number) {
    std::ifstream info(fmt::format("/proc/{}/fdinfo/{}", pid, number));
    for (std::string line; std::getline(info, line);) {
        // "flags:\t02000002", octal (proc(5))
        if (line.starts_with("flags:")) {
            return (std::stoul(line.substr(6), nullptr, 8) & O_CLOEXEC) != 0;
        }
    }
    return true;  // closed meanwhile
}

void check_kept_from_children(pid_t pid) {
    for (const auto& [number, target] : descriptors_of(pid)) {
        if (number <= STDERR_FILENO) continue;
        INFO(number << " " << target);
        CHECK(closes_on_exec(pid, number));
    }
}

std::vector<pid_t> children_of(pid_t pid) {
    std::vector<pid_t> children;
    std::error_code failed;
    for (const auto& thread :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), failed)) {
        std::ifstream list(thread.path() / "children");
        for (pid_t child = 0; list >> child;) children.push_back(child);
    }
    return children;
}

std::vector<int> each_subset() {
    const int bits = GENERATE(range(1, 8));
    std::vector<int> closed;
    for (int number = 0; number <= 2; ++number) {
        if ((bits & (1 << number)) != 0) closed.push_back(number);
    }
    return closed;
}

std::string text_of(const std::vector<int>& closed) {
    std::string text = "closed:";
    for (const int number : closed) text += fmt::format(" {}", number);
    return text;
}

// A process that has a file of kSize bytes mapped, and waits.
class Mapper {
  public:
    static constexpr std::size_t kSize = std::size_t{64} << 20;

    explicit Mapper(const std::string& path)
        : process_([&path] {
              const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
              if (::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) ==
                  MAP_FAILED) {
                  ::_exit(1);
              }
              ::close(file);
          }) {}
    pid_t pid() const { return process_.pid(); }

  private:
    OtherProcess process_;
};

TEST_CASE("a migration without some of the descriptors 0 to 2 is like any other", "[descriptors]") {
    const std::vector<int> closed = each_subset();
    INFO(text_of(closed));
    const TemporaryFolder folder;
    make_image(folder / "image.mem", 4, 1);
    Process receiver({"recv", "--listen", "127.0.0.1:0", "--sink", folder / "copy.mem",
                      "--port-file", folder / "port", "--events", folder / "recv.events", "--stats",
                      folder / "recv.json", "--qmp", "unix:" + (folder / "qmp")},
                     {.closed = closed});
    REQUIRE(receiver.await([&] { return !read_file(folder / "port").empty(); }));
    const auto open = descriptors_of(receiver.pid());
    for (int number = 0; number <= 2; ++number) {
        REQUIRE(open.count(number) == 1);
        const bool is_closed = std::find(closed.begin(), closed.end(), number) != closed.end();
        CHECK((open.at(number) == "/dev/null") == (is_closed || number == 0));
    }
    std::string port = read_file(folder / "port");
    port.resize(port.find('\n'));
    Process sender(
        {"send", "--connect", "127.0.0.1:" + port, "--source", folder / "image.mem", "--events",
         folder / "send.events", "--stats", folder / "send.json", "--progress", "on"},
        {.closed = closed});
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
    CHECK(same_content(folder / "image.mem", folder / "copy.mem"));
    for (const std::string side : {"send", "recv"}) {
        CHECK(read_stats(folder / (side + ".json"))["status"] == "completed");
        std::istringstream lines(read_file(folder / (side + ".events")));
        for (std::string line; std::getline(lines, line);) {
            CHECK(nlohmann::json::accept(line));
        }
    }
}

TEST_CASE("the other commands without some of the descriptors 0 to 2 end as always",
          "[descriptors]") {
    const std::vector<int> closed = each_subset();
    INFO(text_of(closed));
    const bool has_output = std::find(closed.begin(), closed.end(), 1) == closed.end();
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"--help"}, {"--version"}, {"probe"}, {"bench", "--list"}}) {
        INFO(arguments[0]);
        Process process(arguments, {.closed = closed});
        CHECK(process.wait() == 0);
        CHECK(process.out().empty() == !has_output);
    }
    const TemporaryFolder folder;
    Process bench({"bench", "--quick", "--scale", "0.001", "--peer", "none", "--scratch",
                   folder.path(), "--out", folder / "out", "zeros"},
                  {.closed = closed});
    CHECK(bench.wait() == 0);
    CHECK(nlohmann::json::accept(read_file(folder / "out/results.json")));
}

TEST_CASE("no descriptor above 2 goes to a program that either side starts", "[descriptors]") {
    const TemporaryFolder folder;
    const UniqueFd inherited(::open("/dev/null", O_RDWR | O_CLOEXEC));
    Receiver receiver({"--sink", "null:", "--qmp", "unix:" + (folder / "qmp"), "--events",
                       folder / "recv.events"},
                      Surroundings{.descriptors = {{inherited.get(), 9}}});
    Process sender(send_arguments(receiver, "workload:64M,rate=1,warm-up=0",
                                  {"--max-bandwidth", "1M", "--events", folder / "send.events"}),
                   {.descriptors = {{inherited.get(), 9}}});
    check_kept_from_children(receiver->pid());
    sender.ended_within(std::chrono::milliseconds(500));
    CHECK(descriptors_of(receiver->pid()).count(9) == 1);
    check_kept_from_children(receiver->pid());
    check_kept_from_children(sender.pid());
    sender.signal(SIGTERM);
    sender.wait();
    receiver->signal(SIGTERM);
    receiver->wait();
}

// With all of them the transfer takes long at a low bandwidth.
std::vector<std::uint64_t> all_pages() {
    std::vector<std::uint64_t> pages(Mapper::kSize / 4096);
    std::iota(pages.begin(), pages.end(), 0);
    return pages;
}

// The process that guards the guest, once it has closed what it got from the sender.
pid_t await_guard(Process& sender) {
    constexpr std::size_t kOwnDescriptors = 6;
    pid_t guard = 0;
    REQUIRE(sender.await([&] {
        const std::vector<pid_t> children = children_of(sender.pid());
        if (children.size() != 1) return false;
        guard = children[0];
        return descriptors_of(guard).size() == kOwnDescriptors;
    }));
    return guard;
}

TEST_CASE("the process that guards a guest has no descriptor of the migration", "[descriptors]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string memory = folder / "memory";
    write_sparse_file(memory, Mapper::kSize / 4096, all_pages());
    const Mapper mapper(memory);
    const UniqueFd inherited(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    Receiver receiver({"--sink", "null:"});
    Process sender(
        send_arguments(
            receiver, fmt::format("pid:{},map={},pause=sigstop", mapper.pid(), memory),
            {"--max-bandwidth", "1M", "--events", folder / "events", "--reconnect-timeout", "0"}),
        {.descriptors = {{inherited.get(), 9}}});
    REQUIRE(receiver->await_text("connected:"));
    const pid_t guard = await_guard(sender);
    const auto open = descriptors_of(guard);
    CHECK(open.at(0) == "/dev/null");
    CHECK(open.at(1) == "/dev/null");
    CHECK_THAT(open.at(2), Contains("pipe:"));
    CHECK_THAT(open.at(3), Contains("socket:"));
    CHECK_THAT(open.at(4), Contains("pidfd"));
    // The lock of the guest's process is held through the pidfd, or its folder in /proc.
    CHECK_THAT(open.at(5), Contains("pidfd") || Contains("/proc"));
    check_kept_from_children(guard);
    // Killed, the sender leaves no open connection behind: its peer is told at once, well before
    // its io-timeout.
    sender.signal(SIGKILL);
    CHECK(receiver->wait(std::chrono::seconds(20)) != 0);
}

TEST_CASE("a guard does not take standard error's place if the sender has none", "[descriptors]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string memory = folder / "memory";
    write_sparse_file(memory, Mapper::kSize / 4096, all_pages());
    const Mapper mapper(memory);
    Receiver receiver({"--sink", "null:"});
    Process sender(
        send_arguments(receiver, fmt::format("pid:{},map={},pause=sigstop", mapper.pid(), memory),
                       {"--max-bandwidth", "1M"}),
        {.closed = {0, 1, 2}});
    REQUIRE(receiver->await_text("connected:"));
    const auto open = descriptors_of(await_guard(sender));
    CHECK(open.at(2) == "/dev/null");
    CHECK_THAT(open.at(3), Contains("socket:"));
    sender.signal(SIGTERM);
    sender.wait();
    receiver->wait();
}

TEST_CASE("a device's descriptor has to be one that the program was given", "[descriptors]") {
    const auto refused = [](const std::string& device, const Surroundings& surroundings) {
        Process sender(
            {"send", "--connect", "127.0.0.1:1", "--source", "anon:64K", "--devices", device},
            surroundings);
        CHECK(sender.wait() == 2);
        return sender.err();
    };
    CHECK_THAT(refused("fd:net=1", {}), Contains("descriptor 1") && Contains("standard output"));
    CHECK_THAT(refused("fd:net=2", {}), Contains("descriptor 2") && Contains("standard error"));
    CHECK_THAT(refused("fd:net=77", {}), Contains("the program was started without it"));
    // The program opens these numbers by itself; the caller of this test may also have opened
    // some of them.
    for (const int number : {3, 4, 5, 6, 7}) {
        CHECK_THAT(refused(fmt::format("fd:net={}", number), {.closed = {number}}),
                   Contains("the program was started without it"));
    }
    CHECK_THAT(refused("fd:net=0", {.closed = {0}}),
               Contains("the program was started without it"));
    const UniqueFd write_only(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    CHECK_THAT(refused("fd:net=9", {.descriptors = {{write_only.get(), 9}}}),
               Contains("it is not open for reading"));
}

TEST_CASE("devices' streams go from a descriptor to a descriptor", "[descriptors]") {
    const TemporaryFolder folder;
    write_file(folder / "state", "of the net");
    const int number = GENERATE(0, 3, 9);
    const UniqueFd from(::open((folder / "state").c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd to(::open((folder / "copy").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::string device = fmt::format("fd:net={}", number);
    Receiver receiver({"--sink", "null:", "--devices", device},
                      Surroundings{.descriptors = {{to.get(), number}}});
    Process sender(send_arguments(receiver, "anon:1M", {"--devices", device}),
                   {.descriptors = {{from.get(), number}}});
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    INFO(sender.both() << receiver->both());
    CHECK(read_file(folder / "copy") == "of the net");
}

}  // namespace
}  // namespace migrate::e2e
