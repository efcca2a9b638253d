// Does memory hold what the workload's state says it must? Every page: the last write that went to
// it, or its fill, or zeros. The proof that a migration lost no write and invented none.
#pragma once

#include <cstddef>
#include <span>

#include "base/error.hpp"
#include "guest/workload_state.hpp"
#include "memory/page_source.hpp"

namespace migrate::guest {

// An Error names the first wrong page, what it holds and what it must hold. `memory` has the spec's
// size, and nobody writes it. With `source`, whose one region it then is, pages that were never
// populated are not read; without it all are.
Status check_memory(const WorkloadState& state, std::span<const std::byte> memory,
                    const memory::PageSource* source);

}  // namespace migrate::guest
