// SPDX-License-Identifier: Apache-2.0
// Memory of another process as a sink: files that it has mapped shared, and that exist before a
// sender comes. Unlike other sinks it cannot be undone: the former content of the files is lost
// from prepare() on. Invariant: no byte of a file changes while a process other than the owner uses
// it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/foreign/sole_use.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/source/shared_source.hpp"

namespace migrate::memory {

// prepare() requires that the sender's regions are these, by name and size, in any order. kRefused
// if a process other than `owner` uses one of the files, before any of them is changed
// (sole_use.hpp).
std::unique_ptr<PageSink> make_shared_sink(std::string_view uri, std::vector<SharedRegion> regions,
                                           pid_t owner, UnseenProcesses unseen);

// The error of prepare() if it was cancelled while it cleared memory.
Error cancelled_clearing(std::string_view uri);

}  // namespace migrate::memory
