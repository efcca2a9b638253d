// SPDX-License-Identifier: Apache-2.0
// Reads and writes at a place of a file that go on until everything is moved: the kernel may move
// less than it was asked to, and a signal may come in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace migrate {

// Returns the number of bytes that were read. If they are fewer than asked for, errno is 0 at the
// end of the file, or that of the read that failed.
std::size_t read_at(int fd, std::uint64_t offset, std::span<std::byte> to);

// Returns false with errno set if not everything could be written.
bool write_at(int fd, std::uint64_t offset, std::span<const std::byte> from);

}  // namespace migrate
