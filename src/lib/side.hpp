// SPDX-License-Identifier: Apache-2.0
// One side of a migration with all that it needs: the VMM's memory and guest, and the engine's
// session.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "engine/convergence/convergence_types.hpp"
#include "engine/report/events.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/report.hpp"
#include "lib/callback_guest.hpp"
#include "lib/given_region.hpp"

namespace migrate::lib {

class OneSide {
  public:
    OneSide() = default;
    OneSide(const OneSide&) = delete;
    OneSide& operator=(const OneSide&) = delete;
    virtual ~OneSide() = default;

    // Each does the same as the function of SendSession or RecvSession.
    virtual Status run() = 0;
    virtual Status fail(Error reason) = 0;
    virtual void cancel(const std::string& reason) = 0;
    virtual engine::Report report() const = 0;
    virtual engine::GuestOwner owner() const = 0;
    // kUsage at a receiver.
    virtual Status change(const engine::Tunables& tunables) = 0;
    virtual Status continue_switchover() = 0;
    // The address that it listens on, as "HOST:PORT"; empty at a sender.
    virtual std::string address() const { return {}; }
};

// The regions and callbacks that the VMM gave.
struct Given {
    std::vector<RegionSpec> regions;
    std::shared_ptr<const Callbacks> callbacks;  // null: memory alone
};

// Checks everything and makes the side that `settings` are of; a receiver listens when this
// returns. `events` outlives it. May wait for a file system or a name server.
Result<std::unique_ptr<OneSide>> open_side(const Settings& settings, const Given& given,
                                           engine::EventLog& events);

}  // namespace migrate::lib
