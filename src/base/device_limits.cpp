// SPDX-License-Identifier: Apache-2.0
#include "base/device_limits.hpp"

namespace migrate {

bool is_device_name(std::string_view name) {
    constexpr std::string_view kAllowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
    return !name.empty() && name.size() <= kMaxDeviceNameBytes &&
           name.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace migrate
