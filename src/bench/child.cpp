// SPDX-License-Identifier: Apache-2.0
#include "bench/child.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/raw_syscall.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"

namespace migrate::bench {
namespace {

using std::chrono::milliseconds;
constexpr std::size_t kMostWords = 1500;

// Starts the program in a process group of its own, so that only the bench gets a terminal's
// Ctrl-C; with no signal blocked, since the bench blocks those that it reads itself; and with no
// descriptor but 0 to 2.
int spawn(pid_t& pid, const std::string& program, const std::vector<std::string>& arguments,
          const std::string& log) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    // The child begins with the usual effect of the signals that this program ignores.
    sigset_t ignored;
    ::sigemptyset(&ignored);
    for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&ignored, signal);
    ::posix_spawnattr_setsigdefault(&attributes, &ignored);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::vector<std::string> words{program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int failed =
        ::posix_spawnp(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    return failed;
}

double ms_of(const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
}

}  // namespace

std::string program_missing(const std::string& program, const std::string& package) {
    const char* path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (::access((std::filesystem::path(folder) / program).c_str(), X_OK) == 0) return "";
    }
    return fmt::format("{} is not installed: apt-get install {}", program, package);
}

Result<Child> Child::start(const std::string& program, const std::vector<std::string>& arguments,
                           const std::filesystem::path& log) {
    pid_t pid = -1;
    const int failed = spawn(pid, program, arguments, log.string());
    if (failed != 0) return start_error(program, failed);
    UniqueFd pidfd(static_cast<int>(raw_syscall(SYS_pidfd_open, pid, 0)));
    const int code = errno;
    Child child(pid, std::move(pidfd), log);
    if (!child.pidfd_) return Error::system(fmt::format("watch {}", program), code);
    return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      log_(std::move(other.log_)),
      began_(other.began_) {}

Child::~Child() { kill_now(); }

void Child::kill_now() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    reap();
}

Ended Child::reap() {
    int status = 0;
    rusage usage{};
    while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    const std::chrono::duration<double, std::milli> wall = Clock::now() - began_;
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .cpu_ms = ms_of(usage.ru_utime) + ms_of(usage.ru_stime),
            .wall_ms = wall.count()};
}

bool Child::running() { return pid_ >= 0 && !readable_within(pidfd_.get(), milliseconds(0)); }

Result<Ended> Child::wait(Clock::time_point deadline, int stop_fd) {
    std::array<pollfd, 2> polled{pollfd{pidfd_.get(), POLLIN, 0}, pollfd{stop_fd, POLLIN, 0}};
    if (wait_for_any(polled, deadline) < 0) return Error::system("wait for a process", errno);
    if (polled[0].revents != 0) return reap();
    kill_now();
    if (polled[1].revents != 0) return make_error(ErrorKind::kCancelled, "interrupted");
    return make_error(ErrorKind::kTimeout, "it took longer than the scenario's timeout");
}

std::string Child::words() const {
    std::ifstream file(log_);
    std::ostringstream stream;
    stream << file.rdbuf();
    std::string text = stream.str();
    if (text.size() > kMostWords) text = "…" + text.substr(text.size() - kMostWords);
    return text;
}

}  // namespace migrate::bench
