// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/remote_call.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.hpp"

namespace migrate::memory {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kCallPatience{1000};

#if defined(__x86_64__)

// include/linux/errno.h: values that an interrupted system call leaves in its result register for
// the kernel's return path to user mode.
constexpr std::int64_t kRestartSys = -512;
constexpr std::int64_t kRestartNoIntr = -513;
constexpr std::int64_t kRestartNoHand = -514;
constexpr std::int64_t kRestartBlock = -516;
constexpr std::uint64_t kSyscallBytes = 2;  // length of the instruction

// Returns the registers as the kernel would have set them on its return path without us: an
// interrupted call is restarted. orig_rax never holds a call's number: if the thread is at the
// entry of one of our calls, the kernel would run that number.
user_regs_struct restarted(user_regs_struct registers) {
    const std::uint64_t number = std::exchange(registers.orig_rax, ~0ULL);
    if (static_cast<std::int64_t>(number) < 0) return registers;
    switch (static_cast<std::int64_t>(registers.rax)) {
        case kRestartSys:
        case kRestartNoIntr:
        case kRestartNoHand:
            registers.rax = number;
            break;
        case kRestartBlock:
            registers.rax = SYS_restart_syscall;
            break;
        default:
            return registers;
    }
    registers.rip -= kSyscallBytes;
    return registers;
}

// The reason for which a traced thread stops: PTRACE_EVENT_STOP; the entry or exit of a system
// call; the delivery of a signal.
enum class Stop { kEvent, kBorder, kSignal };
Stop kind_of(int status) {
    constexpr int kSyscallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD
    if (status >> 16 != 0) return Stop::kEvent;
    return WSTOPSIG(status) == kSyscallStop ? Stop::kBorder : Stop::kSignal;
}

#endif

}  // namespace

#if defined(__x86_64__)

Result<std::uint64_t> find_syscall_instruction(pid_t pid) {
    std::ifstream maps(fmt::format("/proc/{}/maps", pid));
    if (!maps) return Error::system(fmt::format("look at the memory of process {}", pid), errno);
    for (std::string line; std::getline(maps, line);) {
        if (!line.ends_with("[vdso]")) continue;
        const std::uint64_t start = std::stoull(line, nullptr, 16);
        const std::uint64_t end = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
        std::vector<unsigned char> code(end - start);
        iovec here{code.data(), code.size()};
        // An address of the other process. NOLINTNEXTLINE(performance-no-int-to-ptr)
        iovec there{reinterpret_cast<void*>(start), code.size()};
        const ssize_t size = ::process_vm_readv(pid, &here, 1, &there, 1, 0);
        if (size < 0) return Error::system(fmt::format("read memory of process {}", pid), errno);
        for (std::size_t i = 0; i + 1 < static_cast<std::size_t>(size); ++i) {
            if (code[i] == 0x0F && code[i + 1] == 0x05) return start + i;
        }
    }
    return make_error("process {} has no vDSO with a system call in it (is it a 32-bit program?)",
                      pid);
}

int RemoteCall::seize() {
    if (::ptrace(PTRACE_SEIZE, pid_, nullptr, PTRACE_O_TRACESYSGOOD) != 0) return errno;
    seized_ = true;
    return 0;
}

bool RemoteCall::await_stop(milliseconds patience) {
    const auto until = Clock::now() + patience;
    sigset_t stops;
    ::sigemptyset(&stops);
    ::sigaddset(&stops, SIGCHLD);
    while (true) {
        int status = 0;
        const pid_t found = ::waitpid(pid_, &status, WNOHANG | __WALL);
        if (found == pid_) {
            stop_status_ = status;
            if (WIFSTOPPED(status)) return true;
            error_ = ESRCH;
            return false;
        }
        if (found < 0 && errno != EINTR) {
            error_ = errno;
            return false;
        }
        const auto left = until - Clock::now();
        if (left <= Clock::duration::zero()) {
            error_ = ETIMEDOUT;
            return false;
        }
        // A stop since waitpid() has left a pending SIGCHLD, so this returns at once.
        const auto whole = std::chrono::floor<std::chrono::seconds>(left);
        const timespec longest{whole.count(), std::chrono::nanoseconds(left - whole).count()};
        (void)::sigtimedwait(&stops, nullptr, &longest);
    }
}

// Waits without a limit: a thread with borrowed registers must not be left alone. Returns false if
// the thread is gone.
bool RemoteCall::force_stop() {
    if (::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) return false;
    while (true) {
        const pid_t found = ::waitpid(pid_, &stop_status_, __WALL);
        if (found == pid_) return WIFSTOPPED(stop_status_);
        if (found < 0 && errno != EINTR) return false;
    }
}

int RemoteCall::stop(milliseconds patience) {
    while (true) {
        if (::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) return errno;
        if (!await_stop(patience)) return error_;
        if (kind_of(stop_status_) != Stop::kSignal) break;
        // A signal came first. Deliver it, and request the interruption again, because any stop
        // cancels the request.
        const auto signal = static_cast<std::uintptr_t>(WSTOPSIG(stop_status_));
        if (::ptrace(PTRACE_CONT, pid_, nullptr, signal) != 0) return errno;
    }
    // From here on signals, except SIGSTOP and SIGKILL, wait until the thread is let go.
    const std::uint64_t all = ~0ULL;
    if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &before_) != 0 ||
        ::ptrace(PTRACE_GETSIGMASK, pid_, sizeof mask_before_, &mask_before_) != 0 ||
        ::ptrace(PTRACE_SETSIGMASK, pid_, sizeof all, &all) != 0) {
        return errno;
    }
    stopped_ = true;
    return 0;
}

int RemoteCall::suspend_filter() {
    constexpr std::uintptr_t kSuspendSeccomp = 1U << 21;  // PTRACE_O_SUSPEND_SECCOMP
    const std::uintptr_t options = PTRACE_O_TRACESYSGOOD | kSuspendSeccomp;
    return ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, options) == 0 ? 0 : errno;
}

// Runs the thread to the next entry or exit of a system call. A SIGSTOP on the way is delivered: it
// stops the other threads now, and this one when it is let go, unless a SIGCONT came meanwhile.
bool RemoteCall::resume_until_border() {
    constexpr int kMostStops = 64;
    std::uintptr_t signal = 0;
    for (int stops = 0; stops < kMostStops; ++stops) {
        if (::ptrace(PTRACE_SYSCALL, pid_, nullptr, signal) != 0) {
            error_ = errno;
            return false;
        }
        astray_ = true;
        if (!await_stop(kCallPatience)) return false;
        astray_ = false;
        const Stop kind = kind_of(stop_status_);
        if (kind == Stop::kBorder) return true;
        const int number = WSTOPSIG(stop_status_);
        // Any other signal that passes the mask is the kernel's reaction to our call, so it is
        // dropped.
        signal = kind == Stop::kSignal && number == SIGSTOP ? SIGSTOP : 0;
    }
    error_ = EPROTO;
    return false;
}

std::optional<std::int64_t> RemoteCall::run(long number, std::uint64_t first,
                                            std::uint64_t second) {
    if (!stopped_ || astray_) return std::nullopt;
    user_regs_struct registers = before_;
    registers.rip = gate_;
    registers.rax = static_cast<std::uint64_t>(number);
    registers.orig_rax = ~0ULL;  // prevents a restart
    registers.rdi = first;
    registers.rsi = second;
    registers.rdx = 0;
    if (::ptrace(PTRACE_SETREGS, pid_, nullptr, &registers) != 0) {
        error_ = errno;
        return std::nullopt;
    }
    // The first border is the entry, the second the exit.
    for (int border = 0; border < 2; ++border) {
        if (!resume_until_border()) return std::nullopt;
    }
    if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) != 0 ||
        registers.rip != gate_ + kSyscallBytes) {
        error_ = EPROTO;
        return std::nullopt;
    }
    return static_cast<std::int64_t>(registers.rax);
}

void RemoteCall::let_go() {
    if (astray_ && !force_stop()) stopped_ = seized_ = false;
    astray_ = false;
    std::uintptr_t signal = 0;
    if (stopped_) {
        const user_regs_struct after = restarted(before_);
        (void)::ptrace(PTRACE_SETREGS, pid_, nullptr, &after);
        (void)::ptrace(PTRACE_SETSIGMASK, pid_, sizeof mask_before_, &mask_before_);
        stopped_ = false;
        const bool held = kind_of(stop_status_) == Stop::kSignal;
        if (held && WSTOPSIG(stop_status_) == SIGSTOP) signal = SIGSTOP;
    }
    if (seized_) (void)::ptrace(PTRACE_DETACH, pid_, nullptr, signal);
    seized_ = false;
}

#else

Result<std::uint64_t> find_syscall_instruction(pid_t) {
    return make_error("attaching to a process is known on x86-64 only");
}
int RemoteCall::seize() { return ENOSYS; }
int RemoteCall::stop(milliseconds) { return ENOSYS; }
int RemoteCall::suspend_filter() { return ENOSYS; }
std::optional<std::int64_t> RemoteCall::run(long, std::uint64_t, std::uint64_t) {
    return std::nullopt;
}
void RemoteCall::let_go() {}

#endif

}  // namespace migrate::memory
