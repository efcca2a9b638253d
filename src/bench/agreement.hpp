// SPDX-License-Identifier: Apache-2.0
// Checks that the statistics of both sides of one migration agree with each other.
#pragma once

#include <string>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

// A sentence for each disagreement between what the sender and the receiver of one completed
// migration wrote with --stats: pages and bytes, the rounds' pages, the parts of the downtime, and
// the guest's own proof of its memory. Empty if everything agrees.
std::vector<std::string> disagreements(const Json& sent, const Json& received);

}  // namespace migrate::bench
