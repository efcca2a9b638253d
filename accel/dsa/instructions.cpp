// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/instructions.hpp"

#include <cpuid.h>
#include <immintrin.h>

#include <array>
#include <csetjmp>
#include <csignal>

#include "base/mutex.hpp"

namespace migrate::accel::dsa {
namespace {

constexpr std::array kTrapped = {SIGILL, SIGSEGV, SIGBUS};
// Limit of one UMWAIT, in cycles of the time-stamp counter: some microseconds, because the wait may
// also have a limit in time.
constexpr std::uint64_t kUserWaitCycles = 10'000;

constinit thread_local sigjmp_buf* way_out = nullptr;
std::array<struct sigaction, kTrapped.size()> previous_actions;

void on_trap(int signal, siginfo_t* info, void* context) {
    if (way_out != nullptr) siglongjmp(*way_out, signal);
    // The signal belongs to another thread: act as if this handler were not installed.
    for (std::size_t i = 0; i < kTrapped.size(); ++i) {
        if (kTrapped[i] != signal) continue;
        const struct sigaction& previous = previous_actions[i];
        if ((previous.sa_flags & SA_SIGINFO) != 0) {
            previous.sa_sigaction(signal, info, context);
        } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
            previous.sa_handler(signal);
        } else {
            ::sigaction(signal, &previous, nullptr);
        }
    }
}

// No local changes between the two returns of sigsetjmp.
[[gnu::noinline]] int run_with_way_out(void (*body)(void*), void* context) {
    sigjmp_buf environment;
    const int signal = sigsetjmp(environment, 1);
    if (signal == 0) {
        way_out = &environment;
        body(context);
    }
    way_out = nullptr;
    return signal;
}

}  // namespace

[[gnu::target("enqcmd")]] bool enqueue_command(void* portal, const Descriptor& descriptor) {
    _mm_sfence();
    return _enqcmd(portal, &descriptor) == 0;
}

[[gnu::target("movdir64b")]] void move_direct(void* portal, const Descriptor& descriptor) {
    _mm_sfence();
    _movdir64b(portal, &descriptor);
}

void order_stores() { _mm_sfence(); }

bool has_user_wait() {
    static const bool present = [] {
        unsigned eax = 0;
        unsigned ebx = 0;
        unsigned ecx = 0;
        unsigned edx = 0;
        return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_WAITPKG) != 0;
    }();
    return present;
}

[[gnu::target("waitpkg")]] void user_wait(const std::atomic<std::uint8_t>& status) {
    _umonitor(const_cast<std::atomic<std::uint8_t>*>(&status));
    // A write before the monitor was armed would not wake the wait.
    if (status.load(std::memory_order_acquire) != 0) return;
    _umwait(1, __rdtsc() + kUserWaitCycles);  // 1: C0.1, the state with the faster wake-up
}

void pause() { _mm_pause(); }

int run_trapped(void (*body)(void*), void* context) {
    static Mutex mutex;  // guards no data of ours: the process has one handler for each signal
    const MutexLock lock(mutex);
    struct sigaction action {};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < kTrapped.size(); ++i)
        ::sigaction(kTrapped[i], &action, &previous_actions[i]);
    const int signal = run_with_way_out(body, context);
    for (std::size_t i = 0; i < kTrapped.size(); ++i)
        ::sigaction(kTrapped[i], &previous_actions[i], nullptr);
    return signal;
}

}  // namespace migrate::accel::dsa
