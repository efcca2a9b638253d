// SPDX-License-Identifier: Apache-2.0
// Names the kind of a file that should be a regular file, for error messages.
#pragma once

#include <sys/stat.h>

#include <string_view>

namespace migrate {

inline std::string_view file_kind(mode_t mode) {
    if (S_ISREG(mode)) return "a regular file";
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    if (S_ISBLK(mode)) return "a block device";
    if (S_ISCHR(mode)) return "a character device";
    return "something else";
}

}  // namespace migrate
