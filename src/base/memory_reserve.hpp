// Memory kept for the moment when there is no other: the first allocation that fails anywhere in
// the program has it given back to the system and is tried again. Invariant: from then on until a
// new reserve is made, memory_reserve_spent() says so, and whoever runs a migration ends it while
// small allocations still succeed. Some must: libraries allocate in destructors (JSON's), which
// would end the program, and giving a guest back and telling the peer take a little, too.
#pragma once

#include <cstddef>

namespace migrate {

inline constexpr std::size_t kMemoryReserveBytes = std::size_t{1} << 20;

// Makes the reserve unless there is one. Any thread; does not throw. Without memory for it there is
// none, and memory_reserve_spent() stays as it is.
void keep_memory_reserve() noexcept;
bool memory_reserve_spent() noexcept;

}  // namespace migrate
