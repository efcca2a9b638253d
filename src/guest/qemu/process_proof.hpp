// That a process is the QEMU behind a QMP socket. What /proc tells of the process, and what QEMU
// tells by QMP, is then of one QEMU.
#pragma once

#include <sys/types.h>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

// Gives QEMU a descriptor of a file that no other process has, and looks for it in the process. The
// socket's listener may be another process (one that started QEMU), and a user may name a wrong
// one. An Error if the process is another, or cannot be examined.
Status check_is_qemu(Monitor& monitor, pid_t pid);

}  // namespace migrate::guest
