// Shares the population of fresh sink pages between the calling thread and idle CPUs, so that one
// channel fills memory as fast as eight: populating 4 KiB pages costs several times what receiving
// them does.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/page_sink.hpp"

namespace migrate::memory {

class Prefaulter {
  public:
    // What a helper does around its work: it is given its name and the work, and runs the work.
    using RunHelper = std::function<void(const std::string& name, const std::function<void()>&)>;

    // `helpers` threads beside the callers, or as many as the system has room for; 0 makes
    // populate() a plain sink.prefault(). Without `run_helper` they are only named.
    Prefaulter(const PageSink& sink, unsigned helpers, RunHelper run_helper = {});
    ~Prefaulter();
    Prefaulter(const Prefaulter&) = delete;
    Prefaulter& operator=(const Prefaulter&) = delete;

    bool has_helpers() const { return state_ != nullptr; }
    // Returns when every page of all the ranges is present, or with the first error. Thread-safe.
    Status populate(RegionId region, std::span<const PageRange> ranges);

  private:
    struct State;
    const PageSink& sink_;
    std::unique_ptr<State> state_;
};

}  // namespace migrate::memory
