// SPDX-License-Identifier: Apache-2.0
// When a migration switches to post-copy. A pure function of the rounds and of the user's wish.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

struct PostcopyTrigger {
    enum class When : std::uint8_t {
        kNever,
        kManual,      // when the user asks for it
        kOnStall,     // also when the rounds do not converge, and no countermeasure is left
        kAfterRound,  // also after this round; after round 0 is before the first one
    };
    When when = When::kNever;
    std::uint32_t round = 0;  // kAfterRound

    // The value of the option postcopy: off, manual, on-stall, after-round=N. kUsage for others.
    static Result<PostcopyTrigger> parse(std::string_view text);

    bool is_allowed() const { return when != When::kNever; }
    // True if no round is to be sent at all.
    bool at_once(bool asked) const { return is_due(0, Decision(), asked); }
    // True if post-copy begins after this round, which this decision follows. `asked`: the user has
    // asked for it. A guest that can be switched over within its downtime limit needs no post-copy.
    bool is_due(std::uint32_t ended_round, const Decision& decision, bool asked) const;
};

}  // namespace migrate::engine
