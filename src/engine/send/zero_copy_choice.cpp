// SPDX-License-Identifier: Apache-2.0
#include "engine/send/zero_copy_choice.hpp"

#include <algorithm>

namespace migrate::engine {

ZeroCopyChoice choose_zero_copy(AutoOnOff option, const ZeroCopyFacts& facts) {
    if (option == AutoOnOff::kOff) return {false, "zero-copy-send=off"};
    if (option == AutoOnOff::kAuto && facts.peer_is_local) {
        return {false, "the receiver is on this host, where the kernel copies anyway"};
    }
    if (facts.sends_copies) return {false, "dirty-tracker=hash sends from a copy"};
    if (facts.needs_copies) return {false, "packet-checksum=on needs a copy of a guest's memory"};
    if (std::none_of(facts.in_place.begin(), facts.in_place.end(), [](bool is) { return is; })) {
        return {false, "the memory is read into a buffer before it is sent"};
    }
    if (!facts.refused.empty()) return {false, facts.refused};
    return {true, {}};
}

}  // namespace migrate::engine
