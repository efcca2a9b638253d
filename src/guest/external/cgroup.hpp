// The control groups of a process that is not ours.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace migrate::guest {

// The folder of the process's cgroup, if that has the file `knob`, holds all of the process's
// threads, and nobody else: no other process, and no group below it; else empty. `controller`: of
// the hierarchies of version 1; empty for version 2.
std::string own_cgroup(pid_t pid, std::string_view knob, std::string_view controller);

}  // namespace migrate::guest
