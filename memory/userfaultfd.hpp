// SPDX-License-Identifier: Apache-2.0
// A userfaultfd of this process: the kernel's interface to missing and written pages
// (Documentation/admin-guide/mm/userfaultfd.rst).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

// Opens a userfaultfd with UFFD_USER_MODE_ONLY, by the system call or by /dev/userfaultfd. It needs
// no privilege, whatever vm.unprivileged_userfaultfd says. The Error names what forbids it.
Result<UniqueFd> open_userfaultfd();
// Does the handshake that comes before any other use (UFFDIO_API). Returns 0 or the errno: EINVAL
// if the kernel does not have all of `features`.
int enable_userfaultfd(const UniqueFd& faults, std::uint64_t features);
// Registers page-aligned memory for its missing pages. Returns 0 or the errno: EINVAL if this kind
// of memory or this file system has no userfaultfd, EBUSY if another one has the memory, EPERM if
// the file cannot be written.
int register_missing(const UniqueFd& faults, std::span<std::byte> memory);

}  // namespace migrate::memory
