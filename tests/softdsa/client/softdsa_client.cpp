// A program for DSA devices as others write them: it opens a work queue's node, maps it, and runs
// ENQCMD and MOVDIR64B. It knows of no software device, and checks what it gets.
// Usage: softdsa_client CASE. Exits with 0, or says which expectation failed and exits with 1.
#include <cpuid.h>
#include <fcntl.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "accel/dsa/descriptor.hpp"

namespace {

using namespace migrate::accel::dsa;

constexpr const char* kShared = "/dev/dsa/wq0.0";
constexpr const char* kDedicated = "/dev/dsa/wq0.1";
constexpr std::uint32_t kPage = 4096;

#define EXPECT(condition)                                                                    \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            std::fprintf(stderr, "%s:%d: %s does not hold (errno %d)\n", __FILE__, __LINE__, \
                         #condition, errno);                                                 \
            std::_Exit(1);                                                                   \
        }                                                                                    \
    } while (false)

[[gnu::target("enqcmd")]] bool enqcmd(void* portal, const void* descriptor) {
    _mm_sfence();
    return _enqcmd(portal, descriptor) != 0;  // ZF: the queue was full
}

[[gnu::target("movdir64b")]] void movdir64b(void* portal, const void* descriptor) {
    _mm_sfence();
    _movdir64b(portal, descriptor);
}

bool cpu_has_movdir64b() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & 1U << 28U) != 0;
}

int open_queue(const char* path) {
    const int fd = ::open(path, O_RDWR | O_CLOEXEC);
    EXPECT(fd >= 0);
    return fd;
}

void* map_queue(int fd) {
    void* portal = ::mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    EXPECT(portal != MAP_FAILED);
    return portal;
}

void* map_path(const char* path) {
    const int fd = open_queue(path);
    void* portal = map_queue(fd);
    ::close(fd);
    return portal;
}

std::byte* pages(std::size_t count) {
    void* memory =
        ::mmap(nullptr, count * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED);
    return static_cast<std::byte*>(memory);
}

struct Task {
    Descriptor descriptor;
    CompletionRecord record;

    explicit Task(Opcode opcode = Opcode::kNoop) {
        descriptor.set(opcode, kFlagCompletionAddressValid | kFlagRequestCompletion);
        descriptor.completion_address = address_of(&record);
    }
    std::uint8_t wait() const {
        for (int i = 0; i < 10'000; ++i) {
            const std::uint8_t status = record.status.load(std::memory_order_acquire);
            if (status != 0) return status;
            ::usleep(1000);
        }
        EXPECT(!"the record was written within 10 s");
        return 0;
    }
    std::uint8_t run(void* portal) {
        record.status = 0;
        while (enqcmd(portal, &descriptor)) _mm_pause();
        return wait();
    }
};

void test_enqcmd() {
    void* portal = map_path(kShared);
    Task noop;
    EXPECT(noop.run(portal) == 1);
    // Any 64-byte slot of the page.
    EXPECT(noop.run(static_cast<std::byte*>(portal) + kPage - 64) == 1);

    std::byte* memory = pages(2);
    std::memset(memory, 7, kPage);
    std::memset(memory + kPage, 0, kPage);
    Task move(Opcode::kMemmove);
    move.descriptor.source = address_of(memory);
    move.descriptor.destination = address_of(memory + kPage);
    move.descriptor.size = kPage;
    EXPECT(move.run(portal) == 1);
    EXPECT(std::memcmp(memory, memory + kPage, kPage) == 0);
}

// The flags and the registers are as the instruction leaves them.
[[gnu::target("enqcmd")]] void test_flags() {
    void* portal = map_path(kShared);
    alignas(64) Task noop;
    std::uint64_t flags = 0;
    std::uint64_t index = 1;
    // All six set before; a base, an index and a displacement.
    asm volatile(
        "mov $0x7fffffff, %%eax\n"
        "add $1, %%eax\n"
        "stc\n"
        "enqcmd -24(%[base],%[index],8), %[portal]\n"
        "lea -128(%%rsp), %%rsp\n"  // past the red zone
        "pushfq\n"
        "pop %[flags]\n"
        "lea 128(%%rsp), %%rsp\n"
        : [flags] "=&r"(flags), [index] "+r"(index)
        : [base] "r"(reinterpret_cast<std::byte*>(&noop.descriptor) + 16), [portal] "r"(portal)
        : "rax", "cc", "memory");
    EXPECT((flags & 0x8d5) == 0);
    EXPECT(index == 1);
    EXPECT(noop.wait() == 1);
}

void test_movdir64b() {
    void* portal = map_path(kDedicated);
    Task move(Opcode::kNoop);
    move.descriptor.pasid = 5;  // without meaning here
    movdir64b(portal, &move.descriptor);
    EXPECT(move.wait() == 1);
}

// Run with: --faults wq0.full=3
void test_full() {
    void* portal = map_path(kShared);
    Task noop;
    for (int i = 0; i < 3; ++i) EXPECT(enqcmd(portal, &noop.descriptor));
    EXPECT(!enqcmd(portal, &noop.descriptor));
    EXPECT(noop.wait() == 1);
}

// Run with: --faults wq0.write=EAGAIN@2
void test_write_partial() {
    const int fd = open_queue(kShared);
    std::array<Task, 4> tasks;
    std::array<Descriptor, 4> descriptors;
    for (std::size_t i = 0; i < tasks.size(); ++i) descriptors[i] = tasks[i].descriptor;
    EXPECT(::write(fd, descriptors.data(), sizeof descriptors) == 128);
    EXPECT(tasks[0].wait() == 1 && tasks[1].wait() == 1);
    EXPECT(tasks[2].record.status == 0);
    EXPECT(::write(fd, &descriptors[2], 128) == 128);
    EXPECT(tasks[2].wait() == 1 && tasks[3].wait() == 1);
}

// Run with: --version 0x100
void test_write_errors() {
    const int fd = open_queue(kShared);
    Task noop;
    const std::array<Descriptor, 2> two{noop.descriptor, noop.descriptor};
    EXPECT(::write(fd, two.data(), 63) == 0);
    EXPECT(::write(fd, two.data(), 100) == 64);
    EXPECT(noop.wait() == 1);
    // A copy of the descriptor survives dup() and lives as long as one of them.
    const int copy = ::dup(fd);
    ::close(fd);
    noop.record.status = 0;
    EXPECT(::write(copy, &noop.descriptor, 64) == 64);
    EXPECT(noop.wait() == 1);
    Descriptor bad = noop.descriptor;
    bad.completion_address += 8;
    EXPECT(::write(copy, &bad, 64) == -1 && errno == EINVAL);
    bad = noop.descriptor;
    bad.set(Opcode::kBatch, bad.flags());
    EXPECT(::write(copy, &bad, 64) == -1 && errno == EINVAL);
    std::byte* none = pages(1);
    ::munmap(none, kPage);
    EXPECT(::write(copy, none, 64) == -1 && errno == EFAULT);
    ::close(copy);
    EXPECT(::write(copy, &noop.descriptor, 64) == -1 && errno == EBADF);
}

void test_page_fault() {
    void* portal = map_path(kShared);
    std::byte* memory = pages(2);
    std::memset(memory, 0, 2 * kPage);
    ::madvise(memory + kPage, kPage, MADV_DONTNEED);
    Task check(Opcode::kCompval);
    check.descriptor.source = address_of(memory);
    check.descriptor.size = 2 * kPage;
    EXPECT((check.run(portal) & kStatusMask) == 3);
    EXPECT(check.record.fault_address == address_of(memory + kPage));
    EXPECT(check.record.bytes_completed == kPage && check.record.result == 0);
    // As a client goes on: touch the page and submit the rest.
    static_cast<void>(*static_cast<volatile std::byte*>(memory + kPage));
    check.descriptor.source += kPage;
    check.descriptor.size -= kPage;
    EXPECT(check.run(portal) == 1 && check.record.result == 0);
}

// Run with: --no-mmap
void test_mmap_refused() {
    const int fd = open_queue(kShared);
    EXPECT(::mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    Task noop;
    EXPECT(::write(fd, &noop.descriptor, 64) == 64);
    EXPECT(noop.wait() == 1);
}

void test_mmap_length() {
    const int fd = open_queue(kShared);
    EXPECT(::mmap(nullptr, 2 * kPage, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED &&
           errno == EINVAL);
    // Of two mappings at one address the second counts.
    void* shared = map_queue(fd);
    Task first;
    EXPECT(first.run(shared) == 1);
    const int other = open_queue("/dev/dsa/wq1.0");
    EXPECT(::mmap(shared, kPage, PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0) == shared);
    EXPECT(first.run(shared) == 1);
    // And plain memory is memory again.
    EXPECT(::mmap(shared, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                  -1, 0) == shared);
    if (cpu_has_movdir64b()) {
        movdir64b(shared, &first.descriptor);
        EXPECT(std::memcmp(shared, &first.descriptor, 64) == 0);
    }
}

int status_of(pid_t child) {
    int status = 0;
    EXPECT(::waitpid(child, &status, 0) == child);
    return status;
}

void test_open_twice() {
    const int fd = open_queue(kDedicated);
    EXPECT(::open(kDedicated, O_RDWR) == -1 && errno == EBUSY);
    const pid_t child = ::fork();
    if (child == 0) {
        ::close(fd);
        ::_exit(::open(kDedicated, O_RDWR) == -1 && errno == EBUSY ? 0 : 1);
    }
    EXPECT(status_of(child) == 0);
    // A mapping keeps the queue, too.
    void* portal = map_queue(fd);
    ::close(fd);
    EXPECT(::open(kDedicated, O_RDWR) == -1 && errno == EBUSY);
    ::munmap(portal, kPage);
    ::close(open_queue(kDedicated));
    // A shared one is for everybody.
    ::close(open_queue(kShared));
    const int one = open_queue(kShared);
    const int two = open_queue(kShared);
    EXPECT(one != two);
}

void test_fork() {
    const int fd = open_queue(kShared);
    void* portal = map_queue(fd);
    Task noop;
    EXPECT(noop.run(portal) == 1);
    pid_t child = ::fork();
    if (child == 0) {
        // The parent's queue belongs to the parent's address space.
        EXPECT(::mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED &&
               errno == EPERM);
        EXPECT(::write(fd, &noop.descriptor, 64) == -1 && errno == EPERM);
        EXPECT(noop.run(map_path(kShared)) == 1);
        ::_exit(0);
    }
    EXPECT(status_of(child) == 0);
    child = ::fork();
    if (child == 0) {
        static_cast<void>(enqcmd(portal, &noop.descriptor));  // not mapped here
        ::_exit(0);
    }
    const int status = status_of(child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    EXPECT(noop.run(portal) == 1);
}

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

// What a program installs for these signals is called for its own faults, and for nothing else.
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

// The signal as the CPU would raise it at an instruction: one that this thread sends to itself by a
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

// On a stack of their own for signals, just large enough for a frame of this CPU's.
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

void test_threads() {
    void* portal = map_path(kShared);
    std::vector<std::jthread> threads;
    std::atomic<int> done{0};
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 500; ++n) {
                Task noop;
                EXPECT(noop.run(portal) == 1);
                ++done;
            }
        });
    }
    threads.clear();
    EXPECT(done == 2000);
}

// Prints the time from submission to completion, without a bound: machines differ.
void test_latency() {
    void* portal = map_path(kShared);
    Task noop;
    noop.run(portal);
    constexpr int kRounds = 20'000;
    timespec begin{};
    timespec end{};
    ::clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < kRounds; ++i) static_cast<void>(enqcmd(portal, &noop.descriptor));
    ::clock_gettime(CLOCK_MONOTONIC, &end);
    const double ns = 1e9 * static_cast<double>(end.tv_sec - begin.tv_sec) +
                      static_cast<double>(end.tv_nsec - begin.tv_nsec);
    std::printf("an ENQCMD takes %.0f ns\n", ns / kRounds);
    ::usleep(100'000);  // what was accepted is written before the record goes away
}

struct Case {
    std::string_view name;
    void (*run)();
};
constexpr std::array kCases{
    Case{"enqcmd", test_enqcmd},
    Case{"flags", test_flags},
    Case{"movdir64b", test_movdir64b},
    Case{"full", test_full},
    Case{"write-partial", test_write_partial},
    Case{"write-errors", test_write_errors},
    Case{"page-fault", test_page_fault},
    Case{"mmap-refused", test_mmap_refused},
    Case{"mmap-length", test_mmap_length},
    Case{"open-twice", test_open_twice},
    Case{"fork", test_fork},
    Case{"handlers", test_handlers},
    Case{"signals", test_signals},
    Case{"signal-stack", test_signal_stack},
    Case{"threads", test_threads},
    Case{"latency", test_latency},
};

}  // namespace

int main(int argc, char** argv) {
    for (const Case& candidate : kCases) {
        if (argc == 2 && candidate.name == argv[1]) {
            candidate.run();
            return 0;
        }
    }
    std::fprintf(stderr, "usage: softdsa_client CASE\n");
    return 2;
}
