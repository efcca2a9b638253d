// SPDX-License-Identifier: Apache-2.0
#include "tests/softdsa/client/signal_cases.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include <atomic>
#include <csetjmp>
#include <vector>

#include "tests/softdsa/client/work_queue.hpp"

namespace softdsa_client {
namespace {

sigjmp_buf before_fault;
std::atomic<int> seen_signal{0};
std::atomic<void*> seen_address{nullptr};

void on_fault(int signal, siginfo_t* info, void* /*context*/) {
    seen_signal = signal;
    seen_address = info->si_addr;
    siglongjmp(before_fault, 1);
}
void on_simple(int signal) {
    seen_signal = signal;
    siglongjmp(before_fault, 1);
}

template <typename Body>
int signal_of(Body&& body) {
    seen_signal = 0;
    if (sigsetjmp(before_fault, 0) == 0) body();
    return seen_signal;
}

}  // namespace

void test_handlers() {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    ::sigfillset(&action.sa_mask);
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL}) {
        EXPECT(::sigaction(signal, &action, nullptr) == 0);
        struct sigaction now {};
        EXPECT(::sigaction(signal, nullptr, &now) == 0);
        EXPECT(now.sa_sigaction == on_fault && now.sa_flags == SA_SIGINFO);
    }
    sigset_t all;
    ::sigfillset(&all);
    EXPECT(::pthread_sigmask(SIG_BLOCK, &all, nullptr) == 0);

    void* shared = map_path(kShared);
    void* dedicated = map_path(kDedicated);
    const auto submit_both = [&] {
        Task one;
        EXPECT(one.run(shared) == 1);
        Task two;
        movdir64b(dedicated, &two.descriptor);
        EXPECT(two.wait() == 1);
    };
    EXPECT(signal_of(submit_both) == 0);

    std::byte* none = pages(1);
    ::munmap(none, kPage);
    const auto touch = [&] { *const_cast<volatile std::byte*>(none) = std::byte{1}; };
    for (int i = 0; i < 3; ++i) {
        EXPECT(signal_of(touch) == SIGSEGV);
        EXPECT(seen_address == none);
        EXPECT(signal_of(submit_both) == 0);
    }
    EXPECT(signal_of([] { asm volatile("ud2"); }) == SIGILL);
    EXPECT(signal_of([] { ::raise(SIGBUS); }) == SIGBUS);
    EXPECT(signal_of([] {
               void (*nowhere)() = nullptr;
               asm volatile("" : "+r"(nowhere));
               nowhere();
           }) == SIGSEGV);

    // ENQCMD that hardware refuses is the program's fault: source, alignment, PASID, destination.
    alignas(64) Task task;
    EXPECT(signal_of([&] { enqcmd(shared, none); }) == SIGSEGV);
    EXPECT(signal_of([&] { enqcmd(static_cast<std::byte*>(shared) + 8, &task.descriptor); }) ==
           SIGSEGV);
    EXPECT(signal_of([&] { enqcmd(none, &task.descriptor); }) == SIGSEGV);
    task.descriptor.pasid = 1;
    EXPECT(signal_of([&] { enqcmd(shared, &task.descriptor); }) == SIGSEGV);

    EXPECT(::signal(SIGSEGV, on_simple) != SIG_ERR);
    EXPECT(signal_of(touch) == SIGSEGV);
    EXPECT(signal_of(submit_both) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::signal(SIGSEGV, SIG_DFL);
        touch();
        ::_exit(0);
    }
    const int status = status_of(child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

// Each signal is one that this thread sends to itself by a
// system call right before. So each of the three is tested, whichever this CPU raises by itself.
[[gnu::target("enqcmd,movdir64b")]] void test_signals() {
    const auto self = static_cast<long>(::getpid());
    void* shared = map_path(kShared);
    void* dedicated = map_path(kDedicated);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL}) ::sigaction(signal, &action, nullptr);
    struct Raised {
        int signal;
        int code;
        bool at_portal;
    };
    for (const Raised& raised :
         {Raised{SIGSEGV, SI_KERNEL, false}, Raised{SIGSEGV, SEGV_ACCERR, true},
          Raised{SIGBUS, BUS_ADRERR, true}, Raised{SIGILL, ILL_ILLOPN, false}}) {
        for (void* portal : {shared, dedicated}) {
            Task noop;
            siginfo_t info{};
            info.si_signo = raised.signal;
            info.si_code = raised.code;
            if (raised.at_portal) info.si_addr = portal;
            // No call between these and the asm: it would take the registers.
            register long call asm("rax") = SYS_rt_tgsigqueueinfo;
            register long tid asm("rdx") = raised.signal;
            register siginfo_t* data asm("r10") = &info;
            if (portal == shared) {
                asm volatile("syscall\n enqcmd (%[descriptor]), %[portal]"
                             : "+r"(call)
                             : "D"(self), "S"(self), "r"(tid),
                               "r"(data), [descriptor] "r"(&noop.descriptor), [portal] "r"(portal)
                             : "rcx", "r11", "cc", "memory");
            } else {
                asm volatile("syscall\n movdir64b (%[descriptor]), %[portal]"
                             : "+r"(call)
                             : "D"(self), "S"(self), "r"(tid),
                               "r"(data), [descriptor] "r"(&noop.descriptor), [portal] "r"(portal)
                             : "rcx", "r11", "cc", "memory");
            }
            EXPECT(call == 0);
            EXPECT(noop.wait() == 1);
        }
    }
}

void test_signal_stack() {
    const std::size_t bytes = static_cast<std::size_t>(::sysconf(_SC_SIGSTKSZ));
    std::vector<std::byte> memory(bytes);
    stack_t stack{};
    stack.ss_sp = memory.data();
    stack.ss_size = bytes;
    EXPECT(::sigaltstack(&stack, nullptr) == 0);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL}) ::sigaction(signal, &action, nullptr);
    Task noop;
    EXPECT(noop.run(map_path(kShared)) == 1);
}

}  // namespace softdsa_client
