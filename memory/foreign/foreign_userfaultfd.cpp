// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/foreign_userfaultfd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/descriptors.hpp"
#include "base/fd_passing.hpp"
#include "base/raw_syscall.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"
#include "memory/foreign/remote_call.hpp"

namespace migrate::memory {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// The step at which the helper ended, for the message.
enum class Step : int { kDone, kSeize, kStop, kFilter, kCall, kRefused, kFetch, kClose };

// The helper's answer: a datagram, with the descriptor attached.
struct Answer {
    Step step = Step::kDone;
    int code = 0;  // errno
    std::int64_t stood_still_us = 0;
};

constexpr milliseconds kPatience{2000};
constexpr std::size_t kMostLeftovers = 16;
// Marks a userfaultfd as made by this program, since a userfaultfd has no use for it. The mark
// belongs to the open file, so /proc/PID/fdinfo of the other process shows it.
constexpr int kMark = O_APPEND;

// Reads /proc/PID/fdinfo/FD (fs/proc/fd.c): "flags:" in octal, and for a userfaultfd
// "API:\taa:FEATURES:IOCTLS" (fs/userfaultfd.c).
bool marked_and_unused(const std::filesystem::path& info) {
    std::ifstream lines(info);
    bool marked = false;
    bool unused = false;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("flags:")) {
            marked = (std::strtol(line.c_str() + 6, nullptr, 8) & kMark) != 0;
        }
        if (line.starts_with("API:")) unused = line.find(":0:") != std::string::npos;
    }
    return marked && unused;
}

// Returns the descriptors that an interrupted helper left in the process: userfaultfds with our
// mark, on which UFFDIO_API was never called. The process's own descriptors have no mark.
std::vector<int> leftovers(pid_t pid) {
    const std::filesystem::path process = fmt::format("/proc/{}", pid);
    std::vector<int> found;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(process / "fd", ignored)) {
        std::error_code unreadable;
        if (std::filesystem::read_symlink(entry.path(), unreadable) != "anon_inode:[userfaultfd]") {
            continue;
        }
        const std::string number = entry.path().filename().string();
        if (marked_and_unused(process / "fdinfo" / number)) found.push_back(std::stoi(number));
        if (found.size() == kMostLeftovers) break;
    }
    return found;
}

// The process that the helper attaches to.
struct Target {
    pid_t pid = 0;
    int pidfd = -1;
    std::uint64_t gate = 0;
    bool filtered = false;      // by seccomp
    std::span<const int> left;  // descriptors to close
};

// Runs in the helper, which is a fork of a process that may have threads: system calls only.
Answer attach(const Target& target, int& faults) {
    RemoteCall call(target.pid, target.gate);
    if (const int code = call.seize(); code != 0) return {Step::kSeize, code};
    const auto stopped_at = Clock::now();
    if (const int code = call.stop(kPatience); code != 0) return {Step::kStop, code};
    Answer answer;
    // A filter may end the process for a call that it does not know.
    if (const int code = target.filtered ? call.suspend_filter() : 0; code != 0) {
        call.let_go();
        return {Step::kFilter, code};
    }
    for (const int fd : target.left) (void)call.run(SYS_close, static_cast<std::uint64_t>(fd));
    const auto made = call.run(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (!made) {
        answer = {Step::kCall, call.error()};
    } else if (*made < 0) {
        answer = {Step::kRefused, static_cast<int>(-*made)};
    } else {
        faults = static_cast<int>(
            raw_syscall(SYS_pidfd_getfd, target.pidfd, static_cast<int>(*made), 0U));
        if (faults < 0 || ::fcntl(faults, F_SETFL, kMark) != 0) answer = {Step::kFetch, errno};
        const auto closed = call.run(SYS_close, static_cast<std::uint64_t>(*made));
        if (!closed && answer.step == Step::kDone) answer = {Step::kClose, call.error()};
    }
    call.let_go();
    answer.stood_still_us = std::chrono::ceil<microseconds>(Clock::now() - stopped_at).count();
    return answer;
}

// The child is noexcept: an exception ends it instead of continuing in the parent's functions.
[[noreturn]] void help(int socket, Target target) noexcept {
    // The helper ends by itself; a terminal's Ctrl-C must not end it half-way.
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    // RemoteCall needs this; the program that started us may have ignored the signal.
    ::signal(SIGCHLD, SIG_DFL);
    (void)::setsid();
    // The helper may stay for long, so it closes everything else of the main process.
    keep_only(std::array{socket, target.pidfd});
    socket = kFirstKept;
    target.pidfd = kFirstKept + 1;
    int faults = -1;
    const Answer answer = attach(target, faults);
    (void)!send_with_fd(socket, std::as_bytes(std::span(&answer, 1)), faults, 0);
    ::_exit(0);
}

Error explain(const Answer& answer, pid_t pid) {
    const std::string who = fmt::format("process {}", pid);
    switch (answer.step) {
        case Step::kSeize: {
            Error error = Error::system("attach to " + who + " by ptrace", answer.code);
            if (answer.code != EPERM) return error;
            return make_error(
                "{}: it belongs to another user, is being debugged, or kernel.yama.ptrace_scope "
                "forbids it; root, or CAP_SYS_PTRACE, may",
                error.message());
        }
        case Step::kStop:
            return Error::system("stop a thread of " + who, answer.code);
        case Step::kFilter:
            return make_error(
                "{} runs under a seccomp filter, which may end it for a userfaultfd call, and "
                "which cannot be suspended for that call ({}): this takes root (CAP_SYS_ADMIN) and "
                "a kernel with CONFIG_CHECKPOINT_RESTORE",
                who, std::strerror(answer.code));
        case Step::kRefused:
            if (answer.code == EPERM) {
                return make_error("{} may not make a userfaultfd: a seccomp filter of it forbids",
                                  who);
            }
            return Error::system("make a userfaultfd in " + who, answer.code);
        case Step::kFetch:
            return Error::system("fetch a descriptor of " + who + " (pidfd_getfd)", answer.code);
        default:
            return Error::system("run a system call in " + who, answer.code);
    }
}

struct Received {
    Answer answer;
    UniqueFd faults;
};

// Returns nothing if the helper does not answer: the thread does not return from a call.
std::optional<Received> receive(int socket) {
    if (!readable_within(socket, 2 * kPatience)) return std::nullopt;
    Received received;
    iovec part{&received.answer, sizeof received.answer};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size != static_cast<ssize_t>(sizeof received.answer)) return std::nullopt;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
        received.faults.reset(fd);
    }
    return received;
}

// True for both modes of seccomp, and if the process cannot be examined. A kernel without seccomp
// shows no such line.
bool is_filtered(pid_t pid) {
    std::ifstream status(fmt::format("/proc/{}/status", pid));
    bool examined = false;
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("Seccomp:")) return line.find_first_not_of("0 \t", 8) != line.npos;
        examined = true;
    }
    return !examined;
}

}  // namespace

Result<ForeignUserfaultfd> open_foreign_userfaultfd(pid_t pid) {
    MIGRATE_ASSIGN(const std::uint64_t gate, find_syscall_instruction(pid));
    const UniqueFd pidfd(static_cast<int>(raw_syscall(SYS_pidfd_open, pid, 0U)));
    if (!pidfd) return Error::system(fmt::format("open process {}", pid), errno);
    const std::vector<int> left = leftovers(pid);
    const Target target{pid, pidfd.get(), gate, is_filtered(pid), left};
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return Error::system("make a socket pair", errno);
    }
    const UniqueFd ours(pair[0]);
    UniqueFd theirs(pair[1]);
    const pid_t helper = ::fork();
    if (helper < 0) return start_error("the helper that attaches", errno);
    if (helper == 0) help(theirs.get(), target);
    theirs.reset();
    std::optional<Received> received = receive(ours.get());
    if (!received) {
        // Do not wait for the helper: it stays with the thread until it can let the thread go.
        return make_error("the helper that attaches to process {} did not answer", pid);
    }
    while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
    }
    const Answer& answer = received->answer;
    if (answer.step != Step::kDone || !received->faults) return explain(answer, pid);
    return ForeignUserfaultfd{std::move(received->faults), microseconds(answer.stood_still_us)};
}

Status probe_foreign_userfaultfd() {
    std::array<int, 2> pair{-1, -1};
    if (::pipe2(pair.data(), O_CLOEXEC) != 0) return Error::system("make a pipe", errno);
    UniqueFd gate(pair[0]);
    UniqueFd opener(pair[1]);
    const pid_t child = ::fork();
    if (child < 0) return start_error("a process to try it on", errno);
    if (child == 0) {
        // The child blocks in a system call until the parent closes its end.
        keep_only(std::array{gate.get()});
        char byte = 0;
        (void)!::read(kFirstKept, &byte, 1);
        ::_exit(0);
    }
    gate.reset();
    auto tried = open_foreign_userfaultfd(child);
    opener.reset();
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (!tried) return std::move(tried).error();
    return {};
}

}  // namespace migrate::memory
