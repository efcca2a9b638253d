// SPDX-License-Identifier: Apache-2.0
// The machine that figures are from, and its memory: how much is left, and warming it.
#pragma once

#include <cstdint>

#include "base/error.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

// CPU, kernel, memory, huge-page settings, DSA queues, load, and the commit that was built. Nothing
// that names the host or its user.
Json describe_host();

// Bytes that processes may still take.
std::uint64_t available_memory();

// Takes `bytes` and half a GiB more from the kernel and gives them back, at most four fifths of the
// available memory. Some hypervisors back free memory only on demand; the next process then finds
// pages that are backed.
Status warm_memory(std::uint64_t bytes);

// True if this user may open a DSA work queue.
bool has_dsa_queue();

}  // namespace migrate::bench
