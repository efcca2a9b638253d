// SPDX-License-Identifier: Apache-2.0
#include "base/outcome.hpp"

#include <algorithm>
#include <cstdlib>

namespace migrate {

const OutcomeRow& row_of(Outcome outcome) {
    const auto* found = std::find_if(kOutcomes.begin(), kOutcomes.end(),
                                     [&](const OutcomeRow& row) { return row.outcome == outcome; });
    if (found == kOutcomes.end()) std::abort();
    return *found;
}

std::optional<Outcome> outcome_from_word(std::string_view word) {
    for (const OutcomeRow& row : kOutcomes) {
        if (row.word == word) return row.outcome;
    }
    return std::nullopt;
}

Outcome outcome_of(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::kUsage:
            return Outcome::kUsage;
        case ErrorKind::kRefused:
            return Outcome::kRefused;
        case ErrorKind::kCancelled:
            return Outcome::kCancelled;
        case ErrorKind::kNotConverged:
            return Outcome::kNotConverged;
        case ErrorKind::kOwnerUnknown:
            return Outcome::kOwnerUnknown;
        case ErrorKind::kFailed:
        case ErrorKind::kTimeout:
        case ErrorKind::kLostConnection:
        case ErrorKind::kPeer:
        case ErrorKind::kProtocol:
        case ErrorKind::kFault:
            break;
    }
    return Outcome::kFailed;
}

Error settled(Error error, Stage stage) {
    const bool before_pages = stage == Stage::kBeforeSession || stage == Stage::kBeforePages;
    ErrorKind kind = error.kind();
    switch (kind) {
        case ErrorKind::kFailed:
        case ErrorKind::kProtocol:
        case ErrorKind::kFault:
            if (before_pages) kind = ErrorKind::kRefused;
            break;
        case ErrorKind::kUsage:
            if (stage == Stage::kBeforeSession) break;
            kind = before_pages ? ErrorKind::kRefused : ErrorKind::kFailed;
            break;
        case ErrorKind::kRefused:
            if (stage == Stage::kPagesMove) kind = ErrorKind::kFailed;
            break;
        case ErrorKind::kCancelled:
        case ErrorKind::kTimeout:
        case ErrorKind::kLostConnection:
        case ErrorKind::kPeer:
        case ErrorKind::kNotConverged:
        case ErrorKind::kOwnerUnknown:
            break;
    }
    return std::move(error).as(kind);
}

Error as_refusal(Error error) {
    const bool keeps = error.kind() == ErrorKind::kUsage || error.kind() == ErrorKind::kCancelled ||
                       error.kind() == ErrorKind::kOwnerUnknown;
    return keeps ? error : std::move(error).as(ErrorKind::kRefused);
}

}  // namespace migrate
