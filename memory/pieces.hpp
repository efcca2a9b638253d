// Pages shared out among threads, piece by piece. Invariant: of several errors the one of the
// lowest pages is returned, so that what is reported does not depend on who was faster.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::memory {

// The pages may be any numbered things: with `piece_pages` 1, entries of a list.
// Calls `work` once for each piece of `piece_pages` (the last may be shorter) of the pages
// [0, pages), on the calling thread and 1 to 15 helpers called `name`_1, …, as many threads as
// there are CPUs; fewer where the system has no room for more. After an error, or an exception,
// which is one, no piece is begun that lies behind it.
Status for_each_piece(std::string_view name, std::uint64_t pages, std::uint64_t piece_pages,
                      const std::function<Status(PageRange)>& work);

}  // namespace migrate::memory
