// SPDX-License-Identifier: Apache-2.0
// The threads of the bare loops.
#pragma once

#include <functional>

#include "base/error.hpp"

namespace migrate::bench {

// Runs body(0) to body(count - 1), each on a thread of its own, and waits for all of them. If a
// thread cannot be started, on_failed_start() is called before the wait for the others, and the
// result is the error.
Status run_on_threads(
    unsigned count, const std::function<void(unsigned)>& body,
    const std::function<void()>& on_failed_start = [] {});

}  // namespace migrate::bench
