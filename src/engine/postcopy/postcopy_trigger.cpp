// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/postcopy_trigger.hpp"

#include <charconv>

namespace migrate::engine {

Result<PostcopyTrigger> PostcopyTrigger::parse(std::string_view text) {
    constexpr std::string_view kAfter = "after-round=";
    PostcopyTrigger trigger;
    if (text == "off") return trigger;
    if (text == "manual") {
        trigger.when = When::kManual;
        return trigger;
    }
    if (text == "on-stall") {
        trigger.when = When::kOnStall;
        return trigger;
    }
    if (text.starts_with(kAfter)) {
        const std::string_view number = text.substr(kAfter.size());
        const char* const end = number.data() + number.size();
        const auto read = std::from_chars(number.data(), end, trigger.round);
        if (!number.empty() && read.ec == std::errc() && read.ptr == end) {
            trigger.when = When::kAfterRound;
            return trigger;
        }
    }
    return make_error(ErrorKind::kUsage,
                      "option postcopy: '{}' is none of off, manual, on-stall and after-round=N",
                      text);
}

bool PostcopyTrigger::is_due(std::uint32_t ended_round, const Decision& decision,
                             bool asked) const {
    if (when == When::kNever || decision.action == Action::kSwitchOver) return false;
    if (asked) return true;
    switch (when) {
        case When::kOnStall:
            return decision.stalled && decision.exhausted_at.has_value();
        case When::kAfterRound:
            return ended_round >= round;
        case When::kNever:
        case When::kManual:
            break;
    }
    return false;
}

}  // namespace migrate::engine
