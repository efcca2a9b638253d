// SPDX-License-Identifier: Apache-2.0
// Goes through pages piece by piece: on several threads, or step by step on one. Invariant: of
// several errors the one with the lowest pages is returned, so that the reported error does not
// depend on timing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::memory {

// Calls `work` once for each piece of `piece_pages` (the last may be shorter) of the pages [0,
// pages). The pages may be any numbered things: with `piece_pages` 1, entries of a list. Uses the
// calling thread and up to 15 helpers called `name`_1, …: as many threads as there are CPUs, at
// least 2, but not more than pieces; fewer if the system cannot start them. After an Error or an
// exception (which becomes an Error) no later piece is started.
Status for_each_piece(std::string_view name, std::uint64_t pages, std::uint64_t piece_pages,
                      const std::function<Status(PageRange)>& work);

// Calls `work` for one step after the other, of `step_pages` each (the last may be shorter), on
// this thread. Returns the first Error of `work`; no later step is started then.
template <typename Work>
Status for_each_step(PageRange pages, std::uint64_t step_pages, const Work& work) {
    for (std::uint64_t page = pages.first; page < pages.end(); page += step_pages) {
        MIGRATE_TRY(work(PageRange{page, std::min(step_pages, pages.end() - page)}));
    }
    return {};
}

}  // namespace migrate::memory
