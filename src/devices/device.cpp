// SPDX-License-Identifier: Apache-2.0
#include "devices/device.hpp"

namespace migrate::devices {

std::string DeviceId::text() const {
    return instance == 0 ? name : fmt::format("{}#{}", name, instance);
}

Error own_error(Error error) {
    if (error.kind() == ErrorKind::kCancelled) return error;
    return std::move(error).as(ErrorKind::kFailed);
}

}  // namespace migrate::devices
