// SPDX-License-Identifier: Apache-2.0
// Every DSA program has this: a work queue that is mapped or written to, descriptors and their
// completion records; and an expectation that ends the program where it does not hold.
#pragma once

#include <cpuid.h>
#include <fcntl.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "accel/dsa/descriptor.hpp"

namespace softdsa_client {

using namespace migrate::accel::dsa;

inline constexpr const char* kShared = "/dev/dsa/wq0.0";
inline constexpr const char* kDedicated = "/dev/dsa/wq0.1";
inline constexpr std::uint32_t kPage = 4096;

#define EXPECT(condition)                                                                    \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            std::fprintf(stderr, "%s:%d: %s does not hold (errno %d)\n", __FILE__, __LINE__, \
                         #condition, errno);                                                 \
            std::_Exit(1);                                                                   \
        }                                                                                    \
    } while (false)

[[gnu::target("enqcmd")]] inline bool enqcmd(void* portal, const void* descriptor) {
    _mm_sfence();
    return _enqcmd(portal, descriptor) != 0;  // ZF: the queue was full
}

[[gnu::target("movdir64b")]] inline void movdir64b(void* portal, const void* descriptor) {
    _mm_sfence();
    _movdir64b(portal, descriptor);
}

inline bool cpu_has_movdir64b() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & 1U << 28U) != 0;
}

inline int open_queue(const char* path) {
    const int fd = ::open(path, O_RDWR | O_CLOEXEC);
    EXPECT(fd >= 0);
    return fd;
}

inline void* map_queue(int fd) {
    void* portal = ::mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    EXPECT(portal != MAP_FAILED);
    return portal;
}

inline void* map_path(const char* path) {
    const int fd = open_queue(path);
    void* portal = map_queue(fd);
    ::close(fd);
    return portal;
}

inline std::byte* pages(std::size_t count) {
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
        constexpr bool kWrittenWithin10s = false;
        EXPECT(kWrittenWithin10s);
        return 0;
    }
    std::uint8_t run(void* portal) {
        record.status = 0;
        while (enqcmd(portal, &descriptor)) _mm_pause();
        return wait();
    }
};

inline int status_of(pid_t child) {
    int status = 0;
    EXPECT(::waitpid(child, &status, 0) == child);
    return status;
}

}  // namespace softdsa_client
