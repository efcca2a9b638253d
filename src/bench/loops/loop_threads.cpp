// SPDX-License-Identifier: Apache-2.0
#include "bench/loops/loop_threads.hpp"

#include <vector>

#include "base/thread.hpp"

namespace migrate::bench {

Status run_on_threads(unsigned count, const std::function<void(unsigned)>& body,
                      const std::function<void()>& on_failed_start) {
    std::vector<Thread> threads;
    for (unsigned i = 0; i < count; ++i) {
        Result<Thread> thread = Thread::start(
            fmt::format("loop_{}", i),
            [&body, i](const std::stop_token&) {
                body(i);
                return Status();
            },
            [](const Error&) {});
        if (!thread) {
            on_failed_start();
            return std::move(thread).error();
        }
        threads.push_back(*std::move(thread));
    }
    for (Thread& thread : threads) thread.join();
    return {};
}

}  // namespace migrate::bench
