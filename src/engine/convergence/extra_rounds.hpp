// SPDX-License-Identifier: Apache-2.0
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

    // Called after every round, before pays(). `fits`: the guest could be switched over now. An
    // extra round after which it could not is the last one: the guest writes in bursts, and the
    // next time that it fits must be used.
    void note_round(bool fits);

  private:
    bool put_off_ = false;  // the last round was an extra one
    bool over_ = false;
    Microseconds spent_{};  // time of the extra rounds so far, as it was expected
};

}  // namespace migrate::engine
