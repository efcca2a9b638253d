// SPDX-License-Identifier: Apache-2.0
// Shares the work of making fresh sink pages between the calling thread and idle CPUs, so that one
// channel fills memory as fast as eight: making 4 KiB pages costs several times as much as
// receiving them.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

// Number of helpers that are useful beside this many workers: as many as there are more CPUs.
inline unsigned prefault_helpers(unsigned workers) {
    const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
    return cpus > workers ? cpus - workers : 0;
}

class Prefaulter {
  public:
    // Wraps a helper's work: receives the helper's name and the work, and must run the work.
    using RunHelper = std::function<void(const std::string& name, const std::function<void()>&)>;

    // Starts `helpers` threads in addition to the callers, or as many as the system allows; 0 makes
    // populate() a plain sink.prefault(). Without `run_helper` the helpers are only named.
    Prefaulter(const PageSink& sink, unsigned helpers, RunHelper run_helper = {});
    ~Prefaulter();
    Prefaulter(const Prefaulter&) = delete;
    Prefaulter& operator=(const Prefaulter&) = delete;

    bool has_helpers() const { return state_ != nullptr; }
    // Returns when every page of all ranges is present, or with the first error. Thread-safe.
    Status populate(RegionId region, std::span<const PageRange> ranges);

    // Part of one call's work: pages of the i-th range that was passed.
    struct Piece {
        std::size_t range;
        PageRange pages;
    };
    // Runs `work` for pieces that together are the ranges, on several threads at once; returns when
    // all are done, or with the first error. Thread-safe.
    Status share(std::span<const PageRange> ranges, const std::function<Status(Piece)>& work);

  private:
    struct State;
    const PageSink& sink_;
    std::unique_ptr<State> state_;
};

}  // namespace migrate::memory
