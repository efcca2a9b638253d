// SPDX-License-Identifier: Apache-2.0
#include "base/file_io.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>

#include "base/fd.hpp"
#include "catch.hpp"

namespace migrate {
namespace {

UniqueFd memory_file() {
    UniqueFd fd(::memfd_create("file_io_test", MFD_CLOEXEC));
    REQUIRE(fd);
    return fd;
}

TEST_CASE("what is written at a place of a file is read there, up to the file's end") {
    const UniqueFd file = memory_file();
    const std::array<std::byte, 4> content{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    REQUIRE(write_at(file.get(), 10, content));
    std::array<std::byte, 4> got{};
    CHECK(read_at(file.get(), 10, got) == 4);
    CHECK(got == content);
    CHECK(read_at(file.get(), 12, got) == 2);
    CHECK(errno == 0);
    CHECK(got[0] == std::byte{3});
    CHECK(read_at(file.get(), 14, got) == 0);
    CHECK(errno == 0);
}

TEST_CASE("a read or write that fails leaves its reason in errno") {
    std::array<std::byte, 4> bytes{};
    const UniqueFd folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK(read_at(folder.get(), 0, bytes) == 0);
    CHECK(errno == EISDIR);
    CHECK_FALSE(write_at(folder.get(), 0, bytes));
    CHECK(errno == EBADF);
}

}  // namespace
}  // namespace migrate
