// SPDX-License-Identifier: Apache-2.0
#include "base/fault_guard.hpp"

#include <pthread.h>
#include <ucontext.h>

#include <csetjmp>
#include <csignal>
#include <cstdlib>

#include "base/previous_handler.hpp"

namespace migrate::detail {
namespace {

struct Frame {
    sigjmp_buf environment;
    Frame* outer = nullptr;
};

// Only its own thread accesses it, including the handler of a signal that the thread itself raised.
constinit thread_local Frame* innermost = nullptr;
// Set once, before any guard is entered (the static in run_guarded() orders it); constant
// afterwards.
struct sigaction previous_action {};

void handle(int signal, siginfo_t* info, void* context) {
    // si_code > 0: the kernel raised it. BUS_MCEERR_AO concerns memory that nobody is reading now.
    Frame* frame = innermost;
    const bool ours = frame != nullptr && info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
    if (ours) {
        // The jump leaves the handler without the kernel, which would have restored this mask.
        // sigsetjmp does not save the mask, because that would be a system call for every guard;
        // here it is one for every fault.
        ::pthread_sigmask(SIG_SETMASK, &static_cast<const ucontext_t*>(context)->uc_sigmask,
                          nullptr);
        siglongjmp(frame->environment, 1);
    }
    hand_on(previous_action, signal, info, context);
}

bool install_handler() {
    struct sigaction action {};
    action.sa_sigaction = handle;
    ::sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    if (::sigaction(SIGBUS, &action, &previous_action) != 0) std::abort();
    return true;
}

}  // namespace

// Not inlined, and no local changes between the two returns of sigsetjmp, so no local is
// indeterminate after the jump.
[[gnu::noinline]] bool run_guarded(void (*body)(void*), void* context) {
    [[maybe_unused]] static const bool installed = install_handler();
    Frame frame;
    frame.outer = innermost;
    if (sigsetjmp(frame.environment, 0) != 0) {
        innermost = frame.outer;
        return false;
    }
    innermost = &frame;
    body(context);
    innermost = frame.outer;
    return true;
}

Error fault_error(std::string_view what) {
    return make_error("cannot read {}: it was truncated while in use, or its disk cannot be read",
                      what);
}

Error write_fault_error(std::string_view what) {
    return make_error("cannot write to {}: it was truncated while in use, or its disk is full",
                      what);
}

}  // namespace migrate::detail
