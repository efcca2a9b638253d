// SPDX-License-Identifier: Apache-2.0
// Landlock, the kernel's means with which a process restricts its own access to files
// (landlock(7)). Invariant: restrict_files() holds for the calling thread and for every thread that
// it starts from then on, and cannot be undone.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"

namespace migrate::cli {

struct LandlockSupport {
    int version = 0;     // of the kernel's interface; 0: not available
    std::string reason;  // why it is not available
};

LandlockSupport find_landlock();

// Files that may still be written.
struct WritableFiles {
    std::vector<std::string> folders;  // files in them may be created, written and removed
    std::vector<std::string> files;    // existing files
};

// From now on no program can be executed and nothing on disk can be created, written or removed,
// except what `writable` lists. Reading stays allowed, and so does what is open. Signals and
// abstract unix sockets reach only this process. Paths that do not exist are left out. `version` is
// that of find_landlock(). Call it before any other thread starts.
Status restrict_files(const WritableFiles& writable, int version);

}  // namespace migrate::cli
