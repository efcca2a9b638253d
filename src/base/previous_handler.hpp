// SPDX-License-Identifier: Apache-2.0
// Hands a signal on to the action that a process had before it installed a handler of its own.
// Header only, because libraries that are loaded into other programs use it, too.
#pragma once

#include <csignal>

namespace migrate {

// Called in a handler with that handler's arguments. Async-signal-safe as far as `previous` is.
inline void hand_on(const struct sigaction& previous, int signal, siginfo_t* info, void* context) {
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        // Restores the default action: the faulting instruction runs again and ends the process. A
        // signal that was sent does not repeat by itself, so it is raised again.
        struct sigaction action {};
        action.sa_handler = SIG_DFL;
        ::sigaction(signal, &action, nullptr);
        if (info->si_code <= 0) ::raise(signal);
    }
}

}  // namespace migrate
