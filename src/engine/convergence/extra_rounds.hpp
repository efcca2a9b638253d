// Decides whether a migration that may switch over sends one more round first because the guest
// would then be paused for a much shorter time. Invariant: each extra round halves the dirty pages,
// or it is the last one, and all of them together take at most a tenth of the migration's time.
#pragma once

#include "engine/convergence/convergence_types.hpp"
#include "engine/convergence/downtime_model.hpp"

namespace migrate::engine {

class ExtraRounds {
  public:
    // True if one more round pays after the round of `figures`, which `model` contains already.
    bool pays(const RoundFigures& figures, const DowntimeModel& model, const Tunables& tunables,
              const FixedCosts& costs);

  private:
    Microseconds spent_{};  // time of the extra rounds so far, as it was expected
};

}  // namespace migrate::engine
