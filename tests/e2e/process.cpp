// SPDX-License-Identifier: Apache-2.0
#include "e2e/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <deque>
#include <optional>

#include "base/raw_syscall.hpp"
#include "catch.hpp"
#include "e2e/test_tls.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/ignored_signal.hpp"
#include "tests/support/pipe.hpp"

namespace migrate::e2e {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::vector<std::string> recv_arguments(std::vector<std::string> more) {
    std::vector<std::string> arguments{"recv", "--listen", "127.0.0.1:0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

std::vector<std::string> words_after(std::vector<std::string> under,
                                     const std::vector<std::string>& arguments) {
    under.erase(under.begin());
    under.insert(under.end(), arguments.begin(), arguments.end());
    return under;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) : Process(MIGRATE_BINARY, arguments) {}

Process::Process(const std::vector<std::string>& arguments, const Surroundings& surroundings)
    : Process(MIGRATE_BINARY, arguments, surroundings) {}

namespace {

// While it lives, this process is what its children are to be.
class Inherited {
  public:
    explicit Inherited(const Surroundings& surroundings) {
        for (const int number : surroundings.ignored) {
            ignored_.emplace_back(number);
        }
        if (surroundings.largest_file != 0) limit_.emplace(surroundings.largest_file);
    }

  private:
    std::deque<IgnoredSignal> ignored_;
    std::optional<FileSizeLimit> limit_;
};

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> list;
    list.reserve(words.size() + 1);
    for (std::string& word : words) list.push_back(word.data());
    list.push_back(nullptr);
    return list;
}

}  // namespace

Process::Process(const std::string& program, const std::vector<std::string>& arguments,
                 const Surroundings& surroundings) {
    Pipe out;
    Pipe err;
    for (const Pipe* pipe : {&out, &err}) ::fcntl(pipe->reader.get(), F_SETFL, O_NONBLOCK);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(
        &actions, surroundings.out < 0 ? out.writer.get() : surroundings.out, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(
        &actions, surroundings.err < 0 ? err.writer.get() : surroundings.err, STDERR_FILENO);
    for (const auto& [ours, number] : surroundings.descriptors) {
        ::posix_spawn_file_actions_adddup2(&actions, ours, number);
    }
    for (const int number : surroundings.closed) {
        ::posix_spawn_file_actions_addclose(&actions, number);
    }
    ::posix_spawnattr_init(&attributes);
    // In a group of its own, so that a Ctrl-C at the test's terminal is the test's.
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> words{program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    words = with_test_tls(std::move(words));
    std::vector<std::string> variables = surroundings.environment;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        variables.emplace_back(*variable);
    }
    int failed = 0;
    {
        const Inherited inherited(surroundings);
        failed = ::posix_spawn(&pid_, program.c_str(), &actions, &attributes,
                               pointers(words).data(), pointers(variables).data());
    }
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) FAIL("cannot start " << program << ": " << failed);
    pidfd_.reset(static_cast<int>(raw_syscall(SYS_pidfd_open, pid_, 0)));
    out_fd_ = std::move(out.reader);
    err_fd_ = std::move(err.reader);
    if (!pidfd_) {
        ::kill(pid_, SIGKILL);
        FAIL("pidfd_open: " << errno);
    }
}

Process::~Process() {
    if (ended_ || pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    reap();
}

void Process::signal(int number) const {
    if (!ended_) ::kill(pid_, number);
}

void Process::drain(UniqueFd& from, std::string& to) {
    std::array<char, 4096> buffer{};
    while (from) {
        const ssize_t count = ::read(from.get(), buffer.data(), buffer.size());
        if (count > 0) {
            to.append(buffer.data(), static_cast<std::size_t>(count));
        } else if (count == 0) {
            from.reset();
        } else {
            return;
        }
    }
}

void Process::reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Process::pump(Clock::time_point until) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    std::array<pollfd, 3> polled{pollfd{pidfd_.get(), POLLIN, 0}, pollfd{out_fd_.get(), POLLIN, 0},
                                 pollfd{err_fd_.get(), POLLIN, 0}};
    const int ready = ::poll(polled.data(), polled.size(), static_cast<int>(left));
    if (ready <= 0) return true;
    drain(out_fd_, out_);
    drain(err_fd_, err_);
    if (polled[0].revents != 0) {
        reap();
        drain(out_fd_, out_);
        drain(err_fd_, err_);
    }
    return true;
}

bool Process::await_text(std::string_view text) {
    const Clock::time_point until = Clock::now() + kDeadline;
    const auto found = [&] {
        return out_.find(text) != std::string::npos || err_.find(text) != std::string::npos;
    };
    while (!found()) {
        if (ended_ || !pump(until)) return false;
    }
    return true;
}

bool Process::await(const std::function<bool()>& condition) {
    const Clock::time_point until = Clock::now() + kDeadline;
    while (!condition()) {
        if (ended_ || Clock::now() >= until) return false;
        pump(std::min(until, Clock::now() + milliseconds(10)));
    }
    return true;
}

bool Process::ended_within(milliseconds time) {
    const Clock::time_point until = Clock::now() + time;
    while (!ended_ && pump(until)) {
    }
    return ended_;
}

int Process::wait(milliseconds deadline) {
    if (!ended_within(deadline)) {
        ::kill(pid_, SIGKILL);
        reap();
        drain(out_fd_, out_);
        drain(err_fd_, err_);
        FAIL("a process did not end within " << deadline.count() << " ms; it said:\n" << both());
    }
    return exit_code_;
}

Receiver::Receiver(std::vector<std::string> arguments, const Surroundings& surroundings)
    : process_(recv_arguments(std::move(arguments)), surroundings) {
    if (!find_port()) FAIL("recv does not listen; it said:\n" << process_.both());
}

Receiver::Receiver(const Under& under, std::vector<std::string> arguments)
    : process_(under.words.front(),
               words_after(under.words, recv_arguments(std::move(arguments)))) {
    find_port();
}

bool Receiver::find_port() {
    constexpr std::string_view kPrefix = "listening on 127.0.0.1:";
    // On standard error with --json.
    if (!process_.await_text(kPrefix) || !process_.await_text("\n")) return false;
    const std::string words = process_.both();
    port_ =
        static_cast<std::uint16_t>(std::stoul(words.substr(words.find(kPrefix) + kPrefix.size())));
    return true;
}

std::string Receiver::endpoint() const { return "127.0.0.1:" + std::to_string(port_); }

}  // namespace migrate::e2e
