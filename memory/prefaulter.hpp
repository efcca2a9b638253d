// Shares the population of fresh sink pages between the calling thread and idle CPUs, so that one
// channel fills memory as fast as eight: populating 4 KiB pages costs several times what receiving
// them does.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/page_sink.hpp"

namespace migrate::memory {

class Prefaulter {
  public:
    // `helpers` threads beside the callers; 0 makes populate() a plain sink.prefault().
    Prefaulter(const PageSink& sink, unsigned helpers);
    ~Prefaulter();
    Prefaulter(const Prefaulter&) = delete;
    Prefaulter& operator=(const Prefaulter&) = delete;

    // Returns when every page of `pages` is present, or with the first error. Thread-safe.
    Status populate(RegionId region, PageRange pages);

  private:
    struct State;
    const PageSink& sink_;
    std::unique_ptr<State> state_;
};

}  // namespace migrate::memory
