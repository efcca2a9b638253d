// SPDX-License-Identifier: Apache-2.0
// A VMM's memory as a sink. Its former content is lost from prepare() on.
#pragma once

#include <memory>
#include <vector>

#include "lib/given_region.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::lib {

// prepare() requires that the sender's regions are these, by name and size, in any order. The
// regions are shared with the caller, who makes another sink of them for the next sender.
std::unique_ptr<memory::PageSink> make_given_sink(
    std::shared_ptr<const std::vector<GivenRegion>> regions);

}  // namespace migrate::lib
