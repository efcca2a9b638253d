// SPDX-License-Identifier: Apache-2.0
// Files through which a program reads and writes attributes of sysfs. The tree is mounted
// read-only, so opening an attribute to write fails with EROFS. The program then gets a file of
// its own in its place, whose name says which attribute it stands for; so that it works after
// dup(), fork() and exec(), too.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>

#include "accel/softdsa/preload/world.hpp"

namespace migrate::accel::softdsa::preload {

// Returns a file to write to in place of the attribute `path`, or -1 with errno: EROFS for a file
// that is no attribute, EACCES for an attribute that is read-only.
int open_attribute(World& world, int folder, const char* path, int flags);
// Brings the attribute up to date that `fd` reads, if its value changes by itself.
void refresh_attribute(World& world, int fd);
// Stores `text` in the attribute for which `fd` stands. Returns the bytes taken, or -1 with errno;
// nothing if it stands for none.
std::optional<ssize_t> write_attribute(World& world, int fd, std::string_view text);
// Stores what was written to the file `fd` itself, past write_attribute(), by stdio. Returns 0 or
// an errno.
int store_written(World& world, int fd);

}  // namespace migrate::accel::softdsa::preload
