// SPDX-License-Identifier: Apache-2.0
// Proves that a process is the QEMU behind a QMP socket, so that the facts from /proc and the
// answers from QMP describe the same QEMU.
#pragma once

#include <sys/types.h>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

// Gives QEMU a descriptor of a file that no other process has, and looks for it in the process. The
// check is needed because the socket's listener may be another process (one that started QEMU), and
// a user may name a wrong process. An Error if the process is another one or cannot be examined.
Status check_is_qemu(Monitor& monitor, pid_t pid);

}  // namespace migrate::guest
