// SPDX-License-Identifier: Apache-2.0
#include "engine/link_times.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kHeartbeatsPerTimeout = 4;
constexpr milliseconds kShortestInterval{25};
constexpr milliseconds kLongestInterval{1000};
// TCP retransmits a lost packet after 200 ms at the earliest, and again after another 400 ms.
constexpr milliseconds kLeastSilence{1000};
// A peer that is busy with its memory reads nothing for a while: its kernel may have to find a huge
// page.
constexpr milliseconds kLeastBusy{10'000};
// The peer's io-timeout cannot keep a stalled channel open for longer than this.
constexpr milliseconds kMostOfPeer = seconds(300);

}  // namespace

LinkTimes make_link_times(milliseconds own, std::optional<milliseconds> peer) {
    if (!peer) {
        return {std::clamp(own / kHeartbeatsPerTimeout, kShortestInterval, kLongestInterval),
                transport::StallLimits::both(own)};
    }
    const milliseconds longer = std::max(own, std::min(*peer, kMostOfPeer));
    const milliseconds silent = std::max(longer, kLeastSilence);
    return {std::clamp(std::min(own, *peer) / kHeartbeatsPerTimeout, kShortestInterval,
                       kLongestInterval),
            {silent, std::max(silent, kLeastBusy)}};
}

}  // namespace migrate::engine
