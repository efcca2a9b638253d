// Making mapped pages present in one step (MADV_POPULATE_*, Linux 5.14), so that what cannot be had
// is an errno and not a signal.
#pragma once

#include <cstddef>
#include <span>

namespace migrate::memory {

enum class PopulateFor { kReading, kWriting };

// 0, or the errno: EFAULT where a touch would raise SIGBUS, ENOMEM, EHWPOISON. 0 on a kernel that
// lacks the advice, where the pages are populated by being touched later. `memory` is page-aligned.
int populate(std::span<std::byte> memory, PopulateFor purpose);

}  // namespace migrate::memory
