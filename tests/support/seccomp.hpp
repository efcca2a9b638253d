// SPDX-License-Identifier: Apache-2.0
// Takes a system call away from a thread, as a container's filter does.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/error.hpp"

namespace migrate {

// From here on the call fails with `error` in the calling thread and in those it starts. There is
// no way back: call it in a thread of its own. x86-64's own calls only.
inline Status forbid_in_this_thread(long call, int error) {
    const auto number = static_cast<std::uint32_t>(call);
    const auto code = static_cast<std::uint32_t>(error);
    std::array filter{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0 ||
        ::prctl(PR_SET_SECCOMP, static_cast<unsigned long>(SECCOMP_MODE_FILTER), &program) != 0) {
        return Error::system("filter a system call", errno);
    }
    return {};
}

}  // namespace migrate
