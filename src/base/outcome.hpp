// SPDX-License-Identifier: Apache-2.0
// The outcomes of `migrate send` and `migrate recv` in one table: a word, an exit code and their
// meaning. Exit codes, the JSON line, events, statistics, FAILURE frames, help and documents use
// it. Invariant: words and codes never change their meaning.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "base/error.hpp"

namespace migrate {

enum class Outcome {
    kCompleted,
    kFailed,
    kUsage,
    kRefused,
    kCancelled,
    kNotConverged,
    kOwnerUnknown,
    kGoalMissed
};

struct OutcomeRow {
    Outcome outcome = Outcome::kFailed;
    int exit_code = 0;
    std::string_view word;
    std::string_view meaning;  // sentences for users
};

inline constexpr auto kOutcomes = std::to_array<OutcomeRow>({
    {Outcome::kCompleted, 0, "completed", "Everything arrived. A guest is at the destination."},
    {Outcome::kFailed, 1, "failed",
     "The network, the peer, a device or this host failed: for example, a connection could not be "
     "made or was lost, or a timeout passed. The guest is at the source unless guest-owner says "
     "otherwise."},
    {Outcome::kUsage, 2, "usage",
     "The command line, the configuration or a file that it names is wrong. Nothing was moved."},
    {Outcome::kRefused, 3, "refused",
     "This side or the peer refused before any page moved: a requirement is not met, the two sides "
     "do not match, or the receiver is busy. The guest is unchanged at the source."},
    {Outcome::kCancelled, 4, "cancelled",
     "A user cancelled on one of the two sides, by a signal or by migrate_cancel. The guest is at "
     "the source."},
    {Outcome::kNotConverged, 5, "not-converged",
     "The guest writes memory faster than the channels send it, and stall-limit passed, or the "
     "deadline passed with on-deadline=cancel. The guest is at the source."},
    {Outcome::kOwnerUnknown, 6, "owner-unknown",
     "The handover was not confirmed, so this side does not know which side has the guest. The "
     "source keeps its guest paused. Check both hosts before you run the guest on either."},
    {Outcome::kGoalMissed, 7, "goal-missed",
     "Only from 'migrate bench': every run completed, and a scenario missed one of its goals."},
});

const OutcomeRow& row_of(Outcome outcome);
inline std::string_view name_of(Outcome outcome) { return row_of(outcome).word; }
inline int exit_code_of(Outcome outcome) { return row_of(outcome).exit_code; }
// Returns nothing for a word that this program does not know.
std::optional<Outcome> outcome_from_word(std::string_view word);

Outcome outcome_of(const Error& error);
inline Outcome outcome_of(const Status& status) {
    return status ? Outcome::kCompleted : outcome_of(status.error());
}

// The stage of a session, as far as it decides what an error means.
enum class Stage {
    kBeforeSession,  // options may still turn out to be wrong
    kBeforePages,    // no page has moved, and none can
    kPagesMayMove,   // the sender may send pages (receiver only)
    kPagesMove,      // the first round has begun
};

// Returns the error with the kind that is right at this stage. If this side cannot do something
// before a page can move, that is a refusal; later there are no refusals. Once a session exists, no
// error is wrong usage.
Error settled(Error error, Stage stage);
// For the error of a check that comes before the session and uses no network: returns a refusal,
// unless it is wrong usage, a cancellation, or an unknown owner.
Error as_refusal(Error error);

}  // namespace migrate
