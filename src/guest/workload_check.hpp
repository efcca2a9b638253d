// SPDX-License-Identifier: Apache-2.0
// Checks that memory holds what the workload's state requires. Every page must hold its last write,
// its fill, or zeros. This proves that a migration lost no write and invented none.
#pragma once

#include <cstddef>
#include <span>

#include "base/error.hpp"
#include "guest/workload_state.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::guest {

// An Error names the first wrong page, its content and the expected content. `memory` has the
// spec's size, and nobody writes it. If `source` is set, `memory` is its only region, and pages
// that were never populated are not read; without it all pages are read.
Status check_memory(const WorkloadState& state, std::span<const std::byte> memory,
                    const memory::PageSource* source);

}  // namespace migrate::guest
