// Memory of another process as a sink: files that it has mapped shared, and that are there before a
// sender comes. Unlike other sinks it has nothing to be undone: what the files held is gone from
// prepare() on. Invariant: no byte of a file changes while another process than the owner uses it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/page_sink.hpp"
#include "memory/shared_source.hpp"
#include "memory/sole_use.hpp"

namespace migrate::memory {

// prepare() wants the sender's regions to be these, by name and size, in any order. kRefused if a
// process other than `owner` uses one of the files, before any of them is changed (sole_use.hpp).
std::unique_ptr<PageSink> make_shared_sink(std::string_view uri, std::vector<SharedRegion> regions,
                                           pid_t owner, UnseenProcesses unseen);

}  // namespace migrate::memory
