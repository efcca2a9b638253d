// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <algorithm>

#include "accel/softdsa/user_memory.hpp"
#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

constexpr std::uint32_t kSize = 4 * kPageSize;

std::unique_ptr<Device> blocking_device() {
    DeviceConfig config;
    config.queues[0].block_on_fault = true;
    return started(config);
}

// Four pages of zeros of which the third is absent.
Mapping pages_with_a_hole() {
    Mapping pages = map_pages(4);
    std::fill_n(pages.data(), kSize, std::byte{0});
    REQUIRE(::madvise(pages.data() + 2 * kPageSize, kPageSize, MADV_DONTNEED) == 0);
    return pages;
}

TEST_CASE("an absent source page stops a comparison there with status 3") {
    auto device = started({});
    Mapping pages = pages_with_a_hole();
    CompletionRecord record;
    const std::uint64_t from = address_of(pages.data()) + 100;
    CHECK(run(*device, make(Opcode::kCompval, from, 0, kSize - 200), record) == 3);
    CHECK(record.result == 0);
    CHECK(record.bytes_completed == 2 * kPageSize - 100);
    CHECK(record.fault_address == address_of(pages.data()) + 2 * kPageSize);

    // A difference before it is an answer.
    pages.data()[kPageSize + 5] = std::byte{1};
    CHECK(run(*device, make(Opcode::kCompval, from, 0, kSize - 200), record) == 1);
    CHECK(record.result == 1);
    CHECK(record.bytes_completed == kPageSize - 95);
}

TEST_CASE("the second source's absent page is reported as its own") {
    auto device = started({});
    std::vector<std::byte> zeros(kSize);
    Mapping pages = pages_with_a_hole();
    CompletionRecord record;
    CHECK(run(*device,
              make(Opcode::kCompare, address_of(zeros.data()), address_of(pages.data()), kSize),
              record) == 3);
    CHECK(record.bytes_completed == 2 * kPageSize);
    CHECK(record.fault_address == address_of(pages.data()) + 2 * kPageSize);
}

TEST_CASE("with block on fault an absent page is brought in") {
    auto device = blocking_device();
    Mapping pages = pages_with_a_hole();
    CompletionRecord record;
    CHECK(run(*device,
              make(Opcode::kCompval, address_of(pages.data()), 0, kSize, dsa::kFlagBlockOnFault),
              record) == 1);
    CHECK(record.result == 0);
}

TEST_CASE("a page without access is status 3, and 4 where the device may wait for it") {
    auto device = blocking_device();
    Mapping pages = map_pages(4);
    std::fill_n(pages.data(), kSize, std::byte{0});
    const std::uint64_t at = address_of(pages.data());
    REQUIRE(::mprotect(pages.data() + kPageSize, kPageSize, PROT_NONE) == 0);
    CompletionRecord record;
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize), record) == 3);
    CHECK(record.bytes_completed == kPageSize);
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize, dsa::kFlagBlockOnFault), record) == 4);
    CHECK(record.bytes_completed == kPageSize);
    CHECK(record.fault_address == at + kPageSize);

    REQUIRE(::munmap(pages.data() + kPageSize, kPageSize) == 0);
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize), record) == 3);
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize, dsa::kFlagBlockOnFault), record) == 4);
    CHECK(run(*device, make(Opcode::kCompval, 0, 0, kSize), record) == 3);
    CHECK(record.bytes_completed == 0);
}

TEST_CASE("a destination that cannot be written has bit 7 of the status set") {
    auto device = blocking_device();
    Mapping pages = map_pages(4);
    std::fill_n(pages.data(), kSize, std::byte{0});
    REQUIRE(::mprotect(pages.data() + 3 * kPageSize, kPageSize, PROT_READ) == 0);
    const std::uint64_t at = address_of(pages.data());
    std::vector<std::byte> ones(kSize, std::byte{1});
    CompletionRecord record;
    for (const Descriptor& descriptor :
         {make(Opcode::kFill, 0x0101010101010101, at, kSize),
          make(Opcode::kMemmove, address_of(ones.data()), at, kSize),
          make(Opcode::kCopyCrc, address_of(ones.data()), at, kSize)}) {
        std::fill_n(pages.data(), 3 * kPageSize, std::byte{0});
        INFO("opcode " << static_cast<int>(descriptor.opcode()));
        CHECK(run(*device, descriptor, record) == 0x83);
        CHECK(record.bytes_completed == 3 * kPageSize);
        CHECK(record.fault_address == at + 3 * kPageSize);
        CHECK(std::equal(pages.data(), pages.data() + 3 * kPageSize, ones.data()));
        Descriptor blocking = descriptor;
        blocking.set(descriptor.opcode(), kAnswer | dsa::kFlagBlockOnFault);
        CHECK(run(*device, blocking, record) == 0x84);
    }
}

TEST_CASE("an overlapping move that faults says how much it did from the end") {
    auto device = started({});
    Mapping pages = map_pages(6);
    fill_random(pages.data(), 6 * kPageSize, 9);
    const std::vector<std::byte> before(pages.data(), pages.data() + 6 * kPageSize);
    REQUIRE(::mprotect(pages.data() + kPageSize, kPageSize, PROT_NONE) == 0);
    CompletionRecord record;
    const std::uint64_t at = address_of(pages.data());
    CHECK(run(*device, make(Opcode::kMemmove, at, at + kPageSize + 100, kSize), record) == 3);
    CHECK(record.result == 1);
    CHECK(record.bytes_completed == 2 * kPageSize);
    CHECK(std::equal(before.begin() + 2 * kPageSize, before.begin() + 4 * kPageSize,
                     pages.data() + 3 * kPageSize + 100));
}

TEST_CASE("a CRC that faults goes on from its value as the seed") {
    auto device = started({});
    Mapping pages = map_pages(4);
    fill_random(pages.data(), kSize, 11);
    const std::uint64_t at = address_of(pages.data());
    CompletionRecord whole;
    REQUIRE(run(*device, make(Opcode::kCrcgen, at, 0, kSize), whole) == 1);
    REQUIRE(::mprotect(pages.data() + kPageSize, kPageSize, PROT_NONE) == 0);
    CompletionRecord part;
    REQUIRE(run(*device, make(Opcode::kCrcgen, at, 0, kSize), part) == 3);
    REQUIRE(::mprotect(pages.data() + kPageSize, kPageSize, PROT_READ) == 0);
    Descriptor rest =
        make(Opcode::kCrcgen, at + part.bytes_completed, 0, kSize - part.bytes_completed);
    rest.specific[0] = part.invalid_flags;
    REQUIRE(run(*device, rest, part) == 1);
    CHECK(part.invalid_flags == whole.invalid_flags);
}

TEST_CASE("shared memory and files are read and written, holes included") {
    auto device = started({});
    const int fd = ::memfd_create("device", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    const UniqueFd file(fd);
    REQUIRE(::ftruncate(fd, kSize) == 0);
    Mapping pages = *Mapping::create({.size = kSize,
                                      .protection = PROT_READ | PROT_WRITE,
                                      .flags = MAP_SHARED,
                                      .fd = fd,
                                      .what = "a memfd"});
    const std::uint64_t at = address_of(pages.data());
    CompletionRecord record;
    // No page of it exists: the device faults, as it does beyond the end of the file.
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize), record) == 3);
    REQUIRE(::pwrite(fd, "x", 1, kSize - 1) == 1);
    REQUIRE(::madvise(pages.data(), kSize, MADV_POPULATE_WRITE) == 0);
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize), record) == 1);
    CHECK(record.result == 1);
    CHECK(record.bytes_completed == kSize - 1);
    CHECK(run(*device, make(Opcode::kFill, 0, at, kSize), record) == 1);
    CHECK(pages.data()[kSize - 1] == std::byte{0});
    REQUIRE(::ftruncate(fd, kPageSize) == 0);
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize), record) == 3);
    CHECK(record.bytes_completed == kPageSize);
}

TEST_CASE("a page of a file that this process never touched is absent, as on hardware") {
    auto device = started({});
    const UniqueFd file(::memfd_create("device", MFD_CLOEXEC));
    REQUIRE(file);
    const std::vector<char> content(kSize, 'x');
    REQUIRE(::pwrite(file.get(), content.data(), kSize, 0) == static_cast<ssize_t>(kSize));
    Mapping pages = *Mapping::create({.size = kSize,
                                      .protection = PROT_READ | PROT_WRITE,
                                      .flags = MAP_SHARED,
                                      .fd = file.get(),
                                      .what = "a memfd"});
    const std::uint64_t at = address_of(pages.data());
    CompletionRecord record;
    // The page cache has it, the page table does not.
    CHECK(run(*device, make(Opcode::kCompval, at, 0, kSize), record) == 3);
    CHECK(record.fault_address == at);
    static_cast<void>(*static_cast<volatile std::byte*>(pages.data()));
    CHECK(run(*device, make(Opcode::kCompval, at, 0, 64), record) == 1);
}

TEST_CASE("the kernel's zero page is read, and refuses a write that may not wait for a page") {
    auto device = started({});
    Mapping pages = map_pages(2);
    // Reading maps the zero page.
    REQUIRE(::madvise(pages.data(), 2 * kPageSize, MADV_POPULATE_READ) == 0);
    const std::uint64_t at = address_of(pages.data());
    if (user_memory::writable(at, kPageSize) != 0) {
        WARN("not run: this kernel does not tell the zero page apart (Linux 6.7 does)");
        return;
    }
    CompletionRecord record;
    CHECK(run(*device, make(Opcode::kCompval, at, 0, 2 * kPageSize), record) == 1);
    CHECK(record.result == 0);
    CHECK(run(*device, make(Opcode::kFill, 0x11, at, 2 * kPageSize), record) == 0x83);
    CHECK(record.fault_address == at);
    pages.data()[1] = std::byte{0};
    CHECK(run(*device, make(Opcode::kFill, 0x11, at, 2 * kPageSize), record) == 0x83);
    CHECK(record.bytes_completed == kPageSize);
    CHECK(record.fault_address == at + kPageSize);
    CHECK(user_memory::writable(at, kPageSize) == kPageSize);
}

TEST_CASE("huge pages are read and written where the host has any") {
    const int fd = ::memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    void* memory =
        fd < 0 ? MAP_FAILED : ::mmap(nullptr, 2U << 20U, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        WARN("not run: this host has no huge pages to give");
        if (fd >= 0) ::close(fd);
        return;
    }
    auto device = started({});
    CompletionRecord record;
    const Descriptor check = make(Opcode::kCompval, address_of(memory), 0, 2U << 20U);
    CHECK(run(*device, check, record) == 3);
    static_cast<volatile char*>(memory)[0] = 0;
    CHECK(run(*device, check, record) == 1);
    CHECK(record.result == 0);
    ::munmap(memory, 2U << 20U);
    ::close(fd);
}

TEST_CASE("residency ends at the first page that is absent, whatever the range begins with") {
    Mapping pages = map_pages(200);
    std::fill_n(pages.data(), 200 * kPageSize, std::byte{1});
    const std::uint64_t at = address_of(pages.data());
    CHECK(user_memory::resident(at + 1, 200 * kPageSize - 1) == 200 * kPageSize - 1);
    REQUIRE(::madvise(pages.data() + 150 * kPageSize, kPageSize, MADV_DONTNEED) == 0);
    CHECK(user_memory::resident(at + 5, 200 * kPageSize - 5) == 150 * kPageSize - 5);
    CHECK(user_memory::resident(at + 150 * kPageSize + 7, 10) == 0);
    CHECK(user_memory::resident(at, 150 * kPageSize) == 150 * kPageSize);
    REQUIRE(::munmap(pages.data() + 100 * kPageSize, kPageSize) == 0);
    CHECK(user_memory::resident(at, 200 * kPageSize) == 100 * kPageSize);
    CHECK(user_memory::resident(16, 32) == 0);
}

}  // namespace
}  // namespace migrate::accel::softdsa
