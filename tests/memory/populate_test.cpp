// SPDX-License-Identifier: Apache-2.0
// Memory that can be populated, and the reasons why other memory cannot.
#include "memory/sink/populate.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <thread>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seccomp.hpp"

namespace migrate::memory {
namespace {

constexpr std::size_t kPages = 4;

Mapping map(int protection, int flags = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1) {
    return must(Mapping::create({.size = kPages * kPageSize,
                                 .protection = protection,
                                 .flags = flags,
                                 .fd = fd,
                                 .what = "memory to populate"}));
}

std::size_t present(const Mapping& mapping) {
    std::array<unsigned char, kPages> pages{};
    REQUIRE(::mincore(mapping.data(), mapping.size(), pages.data()) == 0);
    std::size_t count = 0;
    for (const unsigned char page : pages) count += page & 1U;
    return count;
}

TEST_CASE("accessible memory is populated, and an empty range is not an error") {
    const Mapping mapping = map(PROT_READ | PROT_WRITE);
    CHECK(populate(mapping.bytes().first(0), PopulateFor::kWriting) == 0);
    CHECK(populate(mapping.bytes(), PopulateFor::kWriting) == 0);
    CHECK(present(mapping) == kPages);
}

TEST_CASE("memory that may not be accessed so is an error, and not one of the kernel's") {
    const Mapping readable = map(PROT_READ);
    CHECK(populate(readable.bytes(), PopulateFor::kReading) == 0);
    CHECK(populate(readable.bytes(), PopulateFor::kWriting) == EINVAL);
    const Mapping none = map(PROT_NONE);
    CHECK(populate(none.bytes(), PopulateFor::kReading) == EINVAL);
    CHECK(populate(none.bytes(), PopulateFor::kWriting) == EINVAL);
}

TEST_CASE("addresses without memory, and a file's end, have errors of their own") {
    const Mapping mapping = map(PROT_READ | PROT_WRITE);
    REQUIRE(::munmap(mapping.data() + 2 * kPageSize, kPageSize) == 0);
    CHECK(populate(mapping.bytes(), PopulateFor::kWriting) == ENOMEM);
    const UniqueFd file(::memfd_create("short", MFD_CLOEXEC));
    REQUIRE(::ftruncate(file.get(), kPageSize) == 0);
    const Mapping beyond = map(PROT_READ | PROT_WRITE, MAP_SHARED, file.get());
    CHECK(populate(beyond.bytes().first(kPageSize), PopulateFor::kWriting) == 0);
    CHECK(populate(beyond.bytes(), PopulateFor::kWriting) == EFAULT);
}

TEST_CASE("without the kernel's advice the pages are populated by the first access") {
    const Mapping mapping = map(PROT_READ | PROT_WRITE);
    Status filtered;
    int reading = -1;
    int writing = -1;
    std::jthread([&] {
        filtered = forbid_in_this_thread(SYS_madvise, EINVAL);
        reading = populate(mapping.bytes(), PopulateFor::kReading);
        writing = populate(mapping.bytes(), PopulateFor::kWriting);
    }).join();
    must(filtered);
    CHECK(reading == 0);
    CHECK(writing == 0);
    CHECK(present(mapping) == 0);
    // One that forbids it is an error.
    int forbidden = 0;
    std::jthread([&] {
        filtered = forbid_in_this_thread(SYS_madvise, EPERM);
        forbidden = populate(mapping.bytes(), PopulateFor::kWriting);
    }).join();
    must(filtered);
    CHECK(forbidden == EPERM);
}

}  // namespace
}  // namespace migrate::memory
