// SPDX-License-Identifier: Apache-2.0
// Finds the NUMA node that holds a guest's memory.
#pragma once

#include "memory/source/page_source.hpp"

namespace migrate::memory {

// Returns the node that holds most of a sample of the source's pages; -1 if none of them is present
// or the kernel does not report it.
int numa_node_of(const PageSource& source);
// The same for one region.
int numa_node_of(const PageSource& source, RegionId region);

}  // namespace migrate::memory
