// SPDX-License-Identifier: Apache-2.0
// Memory kept for the case that there is no other. The first allocation that fails anywhere in the
// program returns the reserve to the system and is tried again. Invariant: from then on until a new
// reserve is made, memory_reserve_spent() is true, and the code that runs a migration ends it while
// small allocations still succeed. Some have to succeed: libraries allocate in destructors
// (JSON's), and a failure there would end the program; giving a guest back and telling the peer
// also need a little.
#pragma once

#include <cstddef>

namespace migrate {

inline constexpr std::size_t kMemoryReserveBytes = std::size_t{1} << 20;

// Makes the reserve unless there is one. Any thread; does not throw. If there is no memory for it,
// no reserve exists and memory_reserve_spent() stays as it is.
void keep_memory_reserve() noexcept;
bool memory_reserve_spent() noexcept;
// The number of reserves that were returned to the system since the program started.
unsigned memory_reserves_given() noexcept;

}  // namespace migrate
