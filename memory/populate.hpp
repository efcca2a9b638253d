// Making mapped pages present in one step (MADV_POPULATE_*, Linux 5.14), so that what cannot be had
// is an errno and not a signal.
#pragma once

#include <cstddef>
#include <span>

namespace migrate::memory {

enum class PopulateFor { kReading, kWriting };

// 0, or the errno (madvise(2)): EFAULT where a touch would raise SIGBUS; EHWPOISON; ENOMEM, also
// for addresses where nothing is mapped; EINVAL for memory that may not be accessed so, or that a
// device or memfd_secret has there. 0 on a kernel that lacks the advice, and on no other: there the
// pages are populated by being touched later. `memory` is page-aligned.
int populate(std::span<std::byte> memory, PopulateFor purpose);

}  // namespace migrate::memory
