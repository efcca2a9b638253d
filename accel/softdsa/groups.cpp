// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "accel/softdsa/device_config.hpp"

namespace migrate::accel::softdsa {

Groups Groups::together(std::size_t count) {
    Groups groups;
    groups.queues.fill(std::uint8_t{0});
    std::fill_n(groups.engines.begin(), std::min(count, kMostEngines), std::uint8_t{0});
    return groups;
}

bool Groups::has_engines() const {
    return std::ranges::any_of(engines, [](const Group& group) { return group.has_value(); });
}

bool Groups::complete() const {
    const auto all_found = [](const auto& parts, const auto& others) {
        return std::ranges::all_of(parts, [&](const Group& group) {
            return !group || std::ranges::find(others, group) != others.end();
        });
    };
    return all_found(queues, engines) && all_found(engines, queues);
}

}  // namespace migrate::accel::softdsa
