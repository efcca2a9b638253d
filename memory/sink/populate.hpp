// SPDX-License-Identifier: Apache-2.0
// Makes mapped pages present in one step (MADV_POPULATE_*, Linux 5.14), so that a failure is an
// errno and not a signal.
#pragma once

#include <cstddef>
#include <span>

namespace migrate::memory {

enum class PopulateFor { kReading, kWriting };

// Returns 0 or the errno: EFAULT if an access would raise SIGBUS, ENOMEM, EHWPOISON. Returns 0 on a
// kernel without the advice; the pages are then populated when they are accessed. `memory` is
// page-aligned.
int populate(std::span<std::byte> memory, PopulateFor purpose);

}  // namespace migrate::memory
