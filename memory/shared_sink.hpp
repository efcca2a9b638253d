// Memory of another process as a sink: files that it has mapped shared, and that are there before a
// sender comes. Unlike other sinks it has nothing to be undone: what the files held is gone from
// prepare() on.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/page_sink.hpp"
#include "memory/shared_source.hpp"

namespace migrate::memory {

// prepare() wants the sender's regions to be these, by name and size, in any order.
std::unique_ptr<PageSink> make_shared_sink(std::string_view uri, std::vector<SharedRegion> regions);

}  // namespace migrate::memory
