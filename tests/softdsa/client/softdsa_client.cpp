// SPDX-License-Identifier: Apache-2.0
// A program for DSA devices as others write them: it opens a work queue's node, maps it, and runs
// ENQCMD and MOVDIR64B. It knows of no software device, and checks what it gets.
// Usage: softdsa_client CASE. Exits with 0, or says which expectation failed and exits with 1.
#include <signal.h>

#include <array>
#include <atomic>
#include <cstring>
#include <ctime>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/softdsa/client/signal_cases.hpp"
#include "tests/softdsa/client/work_queue.hpp"

namespace softdsa_client {
namespace {

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
    // A client goes on like this: it touches the page and submits the rest.
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
    // The second of two mappings at one address counts.
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
    constexpr int kRounds = 5000;
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

// Polls as the published client does: after 12,800 PAUSEs it gives up. All processors are busy
// meanwhile. Run with: --engines 0
void test_poll_bound() {
    void* portal = map_path(kShared);
    std::atomic<bool> stop{false};
    std::vector<std::jthread> busy;
    for (unsigned i = 0; i < 2 * std::thread::hardware_concurrency(); ++i)
        busy.emplace_back([&] {
            while (!stop.load(std::memory_order_relaxed)) _mm_pause();
        });
    constexpr std::size_t kPages = 128;
    std::byte* memory = pages(kPages);
    std::memset(memory, 0, kPages * kPage);
    std::vector<CompletionRecord> records(kPages);
    std::vector<Descriptor> list(kPages);
    Task batch(Opcode::kBatch);
    batch.descriptor.source = address_of(list.data());
    batch.descriptor.size = kPages;
    for (int round = 0; round < 60; ++round) {
        for (std::size_t i = 0; i < kPages; ++i) {
            records[i].status = 0;
            list[i].set(Opcode::kCompval, kFlagCompletionAddressValid | kFlagRequestCompletion);
            list[i].completion_address = address_of(&records[i]);
            list[i].source = address_of(memory + i * kPage);
            list[i].size = kPage;
        }
        batch.record.status = 0;
        while (enqcmd(portal, &batch.descriptor)) _mm_pause();
        int polls = 0;
        while (batch.record.status.load(std::memory_order_acquire) == 0 && polls < 12'800) {
            _mm_pause();
            ++polls;
        }
        EXPECT(polls < 12'800 && batch.record.status == 1);
        for (const CompletionRecord& record : records)
            EXPECT(record.status == 1 && record.result == 0);
    }
    stop = true;
}

// Also on a CPU that does not have the instructions.
[[gnu::target("waitpkg")]] void test_user_wait() {
    void* portal = map_path(kShared);
    Task noop;
    noop.record.status = 0;
    while (enqcmd(portal, &noop.descriptor)) _mm_pause();
    for (int i = 0; i < 1'000'000 && noop.record.status == 0; ++i) {
        _umonitor(&noop.record);
        if (noop.record.status == 0) _umwait(1, __rdtsc() + 10'000);
        _tpause(1, __rdtsc() + 100);
    }
    EXPECT(noop.wait() == 1);
}

struct Case {
    std::string_view name;
    void (*run)();
};
constexpr std::array kCases{
    Case{"enqcmd", test_enqcmd},
    Case{"flags", test_flags},
    Case{"user-wait", test_user_wait},
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
    Case{"poll-bound", test_poll_bound},
};

}  // namespace
}  // namespace softdsa_client

int main(int argc, char** argv) {
    for (const auto& candidate : softdsa_client::kCases) {
        if (argc == 2 && candidate.name == argv[1]) {
            candidate.run();
            return 0;
        }
    }
    std::fprintf(stderr, "usage: softdsa_client CASE\n");
    return 2;
}
