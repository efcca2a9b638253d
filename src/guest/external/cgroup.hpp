// SPDX-License-Identifier: Apache-2.0
// The control groups of a foreign process.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace migrate::guest {

// Returns the folder of the process's cgroup if it has the file `knob`, holds all threads of the
// process, and holds no other process and no child group; otherwise empty. `controller` selects the
// hierarchy of version 1; empty selects version 2.
std::string own_cgroup(pid_t pid, std::string_view knob, std::string_view controller);

}  // namespace migrate::guest
