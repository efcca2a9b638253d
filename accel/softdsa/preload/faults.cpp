// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/faults.hpp"

#include <asm/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "accel/softdsa/guarded_memory.hpp"
#include "accel/softdsa/preload/instruction.hpp"
#include "accel/softdsa/preload/next_symbol.hpp"
#include "accel/softdsa/preload/world.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constexpr std::array kTrapped{SIGILL, SIGSEGV, SIGBUS};
constexpr std::uint64_t bit_of(int signal) { return std::uint64_t{1} << (signal - 1); }

constinit NextSymbol<int(int, const struct sigaction*, struct sigaction*)> next_sigaction(
    "sigaction");

// The program's action for one signal. A handler that interrupts a reader can read it, too: a
// reader takes no lock, and reads again if the action was written meanwhile. Writers block all
// signals.
class Action {
  public:
    struct sigaction load() const {
        std::array<std::uint64_t, kWords> copy{};
        std::uint32_t before = 0;
        std::uint32_t after = 0;
        do {
            before = version_.load(std::memory_order_acquire);
            for (std::size_t i = 0; i < kWords; ++i) copy[i] = words_[i].load();
            after = version_.load();
        } while (before != after || (before & 1U) != 0);
        struct sigaction action {};
        std::memcpy(&action, copy.data(), sizeof action);
        return action;
    }
    void store(const struct sigaction& action) {
        std::array<std::uint64_t, kWords> copy{};
        std::memcpy(copy.data(), &action, sizeof action);
        const SignalsBlocked blocked;
        std::uint32_t version = version_.load();
        while ((version & 1U) != 0 || !version_.compare_exchange_weak(version, version + 1)) {
            version = version_.load();
        }
        for (std::size_t i = 0; i < kWords; ++i) words_[i].store(copy[i]);
        version_.store(version + 2);
    }

  private:
    static constexpr std::size_t kWords = (sizeof(struct sigaction) + 7) / 8;
    std::atomic<std::uint32_t> version_{0};
    std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

std::array<Action, kTrapped.size()> actions;
std::atomic<bool> installed{false};

Action& action_of(int signal) {
    std::size_t i = 0;
    while (kTrapped[i] != signal) ++i;
    return actions[i];
}

bool has_default(const struct sigaction& action) {
    return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL;
}
bool is_ignored(const struct sigaction& action) {
    return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN;
}

// The signal ends the process: immediately, or when the faulting instruction runs again.
void fall_back_to_default(int signal, bool was_sent) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    real_sigaction(signal, &action, nullptr);
    if (was_sent) raw_syscall(SYS_tgkill, ::getpid(), raw_syscall(SYS_gettid), signal);
}

// Does what the kernel would have done with the program's action. A signal that was sent does not
// repeat by itself, so the default action raises it again.
void hand_on(int signal, siginfo_t* info, void* context, bool was_sent) {
    const struct sigaction action = action_of(signal).load();
    if (is_ignored(action) && was_sent) return;
    if (has_default(action) || is_ignored(action)) return fall_back_to_default(signal, was_sent);
    if ((static_cast<unsigned>(action.sa_flags) & SA_RESETHAND) != 0) {
        struct sigaction initial {};
        initial.sa_handler = SIG_DFL;
        action_of(signal).store(initial);
    }
    std::uint64_t mask = 0;
    std::uint64_t interrupted = 0;
    std::memcpy(&mask, &action.sa_mask, sizeof mask);
    std::memcpy(&interrupted, &static_cast<ucontext_t*>(context)->uc_sigmask, sizeof interrupted);
    mask = (mask | interrupted) & ~trapped_signals();
    raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
    if ((action.sa_flags & SA_SIGINFO) != 0) {
        action.sa_sigaction(signal, info, context);
    } else {
        action.sa_handler(signal);
    }
}

Registers registers_of(const ucontext_t& context) {
    // The order of the register numbers in instructions.
    constexpr std::array kOrder{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    Registers registers;
    for (std::size_t i = 0; i < kOrder.size(); ++i) {
        registers.general[i] = static_cast<std::uint64_t>(context.uc_mcontext.gregs[kOrder[i]]);
    }
    registers.rip = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
    return registers;
}

std::uint64_t base_of(Segment segment) {
    if (segment == Segment::kNone) return 0;
    std::uint64_t base = 0;
    raw_syscall(SYS_arch_prctl, segment == Segment::kFs ? ARCH_GET_FS : ARCH_GET_GS, &base);
    return base;
}

// Reads by a system call, which returns an error if the memory cannot be read.
bool read_descriptor(std::uint64_t address, dsa::Descriptor& descriptor) {
    const iovec to{&descriptor, sizeof descriptor};
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address out of a register
    const iovec from{reinterpret_cast<void*>(address), sizeof descriptor};
    const long bytes =
        raw_syscall(SYS_process_vm_readv, raw_syscall(SYS_getpid), &to, 1UL, &from, 1UL, 0UL);
    return bytes == static_cast<long>(sizeof descriptor);
}

constexpr greg_t kCarry = 0x1;
constexpr greg_t kParity = 0x4;
constexpr greg_t kAdjust = 0x10;
constexpr greg_t kZero = 0x40;
constexpr greg_t kSign = 0x80;
constexpr greg_t kOverflow = 0x800;

enum class Verdict : std::uint8_t {
    kSubmitted,  // or skipped
    kRefused,    // hardware would raise a fault, too
    kNotOurs,
};

Verdict submit(ucontext_t& context) {
    World* const world = World::instance();
    if (world == nullptr) return Verdict::kNotOurs;
    const Registers registers = registers_of(context);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address out of a register
    const auto found = decode(reinterpret_cast<const std::uint8_t*>(registers.rip), registers);
    if (!found) return Verdict::kNotOurs;
    if (found->submission == Submission::kEnqcmds) return Verdict::kRefused;
    const bool enqcmd = found->submission == Submission::kEnqcmd;
    const auto node = world->portals().find(found->destination, world->catalog());
    if (!node) return enqcmd ? Verdict::kRefused : Verdict::kNotOurs;
    if (found->destination % sizeof(dsa::Descriptor) != 0) return Verdict::kRefused;
    dsa::Descriptor descriptor;
    if (!read_descriptor(found->source + base_of(found->segment), descriptor)) {
        return Verdict::kRefused;
    }
    if (enqcmd && descriptor.pasid != 0) return Verdict::kRefused;  // the CPU raises #GP here
    descriptor.pasid = static_cast<std::uint32_t>(raw_syscall(SYS_getpid)) & 0xf'ffff;

    world->start();
    Device& device = world->device(*node);
    const std::size_t queue = world->node(*node).queue;
    auto& flags = context.uc_mcontext.gregs[REG_EFL];
    if (enqcmd) {
        const bool accepted = device.enqcmd(queue, descriptor);
        flags &= ~(kCarry | kParity | kAdjust | kZero | kSign | kOverflow);
        if (!accepted) flags |= kZero;
    } else {
        device.movdir64b(queue, descriptor);
    }
    context.uc_mcontext.gregs[REG_RIP] += found->length;
    return Verdict::kSubmitted;
}

// Skips UMONITOR, UMWAIT and TPAUSE on a CPU that lacks them: a wait may end at any time, without a
// reason. Returns false for any other instruction.
bool skip_user_wait(ucontext_t& context) {
    auto& registers = context.uc_mcontext.gregs;
    const auto rip = static_cast<std::uint64_t>(registers[REG_RIP]);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address out of a register
    const auto found = decode_user_wait(reinterpret_cast<const std::uint8_t*>(rip));
    if (!found) return false;
    if (found->waits) {
        registers[REG_EFL] &= ~(kCarry | kParity | kAdjust | kZero | kSign | kOverflow);
        raw_syscall(SYS_sched_yield);
    }
    registers[REG_RIP] += found->length;
    return true;
}

// Returns true if the instruction itself could not be fetched, so that it cannot be read here
// either.
bool is_fetch_fault(const siginfo_t& info, const ucontext_t& context) {
    if (info.si_code == SI_KERNEL || info.si_signo == SIGILL) return false;
    const auto rip = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
    return reinterpret_cast<std::uintptr_t>(info.si_addr) - rip < kLongestInstruction;
}

void handle(int signal, siginfo_t* info, void* raw_context) {
    const int error = errno;
    auto& context = *static_cast<ucontext_t*>(raw_context);
    // Above 0: the CPU raised it, not another process.
    const bool was_sent = info->si_code <= 0;
    if (!was_sent && guarded::recover(raw_context)) return;
    Verdict verdict = Verdict::kNotOurs;
    if (!was_sent && !is_fetch_fault(*info, context)) {
        if (signal == SIGILL && skip_user_wait(context))
            verdict = Verdict::kSubmitted;
        else
            verdict = submit(context);
    }
    errno = error;
    if (verdict == Verdict::kSubmitted) return;
    // A CPU that knows the instruction raises #GP; this one raises SIGILL for an undefined
    // instruction.
    if (verdict == Verdict::kRefused && signal == SIGILL) {
        siginfo_t refusal{};
        refusal.si_signo = SIGSEGV;
        refusal.si_code = SI_KERNEL;
        hand_on(SIGSEGV, &refusal, raw_context, true);
    } else {
        hand_on(signal, info, raw_context, was_sent);
    }
}

// SA_ONSTACK follows the program's setting: a stack that it made for its own handlers may be too
// small for this one. SA_NODEFER and the mask keep the invariant; signals from others wait until
// the handler ends.
int install_handler(int signal, bool on_stack) {
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART | (on_stack ? SA_ONSTACK : 0);
    ::sigfillset(&action.sa_mask);
    action.sa_mask = without_trapped(action.sa_mask);
    return real_sigaction(signal, &action, nullptr);
}

}  // namespace

std::uint64_t trapped_signals() { return bit_of(SIGILL) | bit_of(SIGSEGV) | bit_of(SIGBUS); }

bool is_trapped(int signal) { return signal == SIGILL || signal == SIGSEGV || signal == SIGBUS; }

sigset_t without_trapped(sigset_t set) {
    for (const int signal : kTrapped) ::sigdelset(&set, signal);
    return set;
}

int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old) {
    return next_sigaction(signal, action, old);
}

void install_fault_handlers() {
    for (const int signal : kTrapped) {
        struct sigaction before {};
        real_sigaction(signal, nullptr, &before);
        action_of(signal).store(before);
        install_handler(signal, (before.sa_flags & SA_ONSTACK) != 0);
    }
    // The parent process may have left them blocked.
    const std::uint64_t trapped = trapped_signals();
    raw_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &trapped, nullptr, sizeof trapped);
    installed.store(true, std::memory_order_release);
    guarded::enable();
}

bool fault_handlers_installed() { return installed.load(std::memory_order_acquire); }

int exchange_action(int signal, const struct sigaction* action, struct sigaction* old) {
    // The program may pass one object for both.
    const struct sigaction before = action_of(signal).load();
    if (action != nullptr) {
        action_of(signal).store(*action);
        install_handler(signal, (action->sa_flags & SA_ONSTACK) != 0);
    }
    if (old != nullptr) *old = before;
    return 0;
}

}  // namespace migrate::accel::softdsa::preload
