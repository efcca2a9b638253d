// SPDX-License-Identifier: Apache-2.0
// A VMM's memory as a source.
#pragma once

#include <memory>
#include <vector>

#include "lib/callback_guest.hpp"
#include "lib/given_region.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::lib {

// The description of the memory in reports and messages.
inline constexpr std::string_view kDescription = "libmigrate";

// `callbacks`: of the guest that writes this memory; null: nobody writes it.
std::unique_ptr<memory::PageSource> make_given_source(std::vector<GivenRegion> regions,
                                                      std::shared_ptr<const Callbacks> callbacks);

}  // namespace migrate::lib
