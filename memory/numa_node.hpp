// Where in a machine of several NUMA nodes a guest's memory lies.
#pragma once

#include "memory/page_source.hpp"

namespace migrate::memory {

// The node that most of a sample of the source's pages are on; -1 if none of them is present or the
// kernel does not say.
int numa_node_of(const PageSource& source);

}  // namespace migrate::memory
