// SPDX-License-Identifier: Apache-2.0
#include "base/raw_syscall.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstdint>

#include "catch.hpp"

namespace migrate {
namespace {

template <typename T>
constexpr bool is_whole = sizeof(whole_register(T{})) == sizeof(long);

static_assert(is_whole<int> && is_whole<unsigned> && is_whole<char> && is_whole<std::uint64_t>);
static_assert(is_whole<const char*> && is_whole<std::nullptr_t> && is_whole<decltype(MSG_TRUNC)>);

TEST_CASE("an argument of a system call keeps its value when it is widened") {
    CHECK(whole_register(-1) == -1L);
    CHECK(whole_register(~0U) == 0xFFFF'FFFFUL);
    CHECK(whole_register(std::uint64_t{1} << 63) == 1UL << 63);
    CHECK(whole_register(MSG_TRUNC) == 0x20UL);
    CHECK(whole_register(nullptr) == nullptr);
}

TEST_CASE("a call whose flags are the int 0 is carried out, as the sixth argument too") {
    // The kernel refuses process_vm_readv() with EINVAL if any of the 64 bits of its flags is set.
    char to = 0;
    char from = 'x';
    const iovec local{&to, 1};
    const iovec remote{&from, 1};
    for (int i = 0; i < 1000; ++i) {
        CHECK(raw_syscall(SYS_process_vm_readv, ::getpid(), &local, 1, &remote, 1, 0) == 1);
    }
    CHECK(to == 'x');
}

TEST_CASE("a call that fails returns -1, and errno says why") {
    errno = 0;
    CHECK(raw_syscall(SYS_close, -1) == -1);
    CHECK(errno == EBADF);
}

}  // namespace
}  // namespace migrate
