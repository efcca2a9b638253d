// SPDX-License-Identifier: Apache-2.0
#include "base/fd.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/units.hpp"
#include "catch.hpp"

using namespace migrate;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

UniqueFd make_memfd(std::uint64_t size) {
    UniqueFd fd(::memfd_create("fd_test", MFD_CLOEXEC));
    REQUIRE(fd);
    REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
    return fd;
}

Mapping::Request anonymous(std::uint64_t size, std::uint64_t alignment) {
    return {.size = size,
            .protection = PROT_READ | PROT_WRITE,
            .flags = MAP_PRIVATE | MAP_ANONYMOUS,
            .fd = -1,
            .alignment = alignment,
            .what = "test memory"};
}

bool is_mapped(const std::byte* address) {
    // mincore fails with ENOMEM where nothing is mapped.
    unsigned char residency = 0;
    void* page = const_cast<std::byte*>(address);
    return ::mincore(page, kPageSize, &residency) == 0;
}

}  // namespace

TEST_CASE("a descriptor is closed with its owner") {
    int number = -1;
    {
        const UniqueFd fd = make_memfd(kPageSize);
        number = fd.get();
        CHECK(is_open(number));
    }
    CHECK_FALSE(is_open(number));
}

TEST_CASE("a moved descriptor has one owner") {
    UniqueFd first = make_memfd(kPageSize);
    const int number = first.get();
    UniqueFd second = std::move(first);
    CHECK(second.get() == number);
    UniqueFd third = make_memfd(kPageSize);
    const int replaced = third.get();
    third = std::move(second);
    CHECK(third.get() == number);
    CHECK_FALSE(is_open(replaced));
    CHECK(third.release() == number);
    CHECK_FALSE(third);
    CHECK(is_open(number));
    third.reset(number);
    third.reset();
    CHECK_FALSE(is_open(number));
}

TEST_CASE("an anonymous mapping is as large and as aligned as asked") {
    for (const std::uint64_t alignment : {std::uint64_t{0}, kPageSize, kHugePageSize, kGiB}) {
        for (const std::uint64_t size : {kPageSize, kHugePageSize, 3 * kHugePageSize + kPageSize}) {
            auto mapping = Mapping::create(anonymous(size, alignment));
            INFO("alignment " << alignment << ", size " << size);
            REQUIRE(mapping);
            CHECK(mapping->size() == size);
            CHECK(mapping->bytes().size() == size);
            const auto address = reinterpret_cast<std::uintptr_t>(mapping->data());
            if (alignment != 0) CHECK(address % alignment == 0);
            mapping->bytes().front() = std::byte{1};
            mapping->bytes().back() = std::byte{2};
        }
    }
}

TEST_CASE("a mapping is gone with its owner") {
    const std::byte* address = nullptr;
    {
        auto mapping = Mapping::create(anonymous(4 * kHugePageSize, kHugePageSize));
        REQUIRE(mapping);
        Mapping moved = *std::move(mapping);
        CHECK(moved);
        address = moved.data();
        CHECK(is_mapped(address));
    }
    CHECK_FALSE(is_mapped(address));
}

TEST_CASE("a shared mapping shows the file's bytes") {
    const UniqueFd fd = make_memfd(kPageSize);
    REQUIRE(::pwrite(fd.get(), "guest", 5, 0) == 5);
    const auto mapping = Mapping::create({.size = kPageSize,
                                          .protection = PROT_READ,
                                          .flags = MAP_SHARED,
                                          .fd = fd.get(),
                                          .alignment = 0,
                                          .what = "test file"});
    REQUIRE(mapping);
    CHECK(std::memcmp(mapping->data(), "guest", 5) == 0);
}

TEST_CASE("a mapping that cannot be made says what it was for") {
    const auto empty = Mapping::create(anonymous(0, 0));
    REQUIRE_FALSE(empty);
    CHECK(empty.error().message().find("test memory") != std::string::npos);
    const auto wrapping = Mapping::create(anonymous(~std::uint64_t{0} - kPageSize, kHugePageSize));
    REQUIRE_FALSE(wrapping);
    const auto bad_file = Mapping::create({.size = kPageSize,
                                           .protection = PROT_READ,
                                           .flags = MAP_SHARED,
                                           .fd = 1 << 20,
                                           .alignment = 0,
                                           .what = "nothing"});
    REQUIRE_FALSE(bad_file);
    CHECK(bad_file.error().message() == "cannot map nothing: Bad file descriptor");
}
