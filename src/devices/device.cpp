#include "devices/device.hpp"

#include <algorithm>

namespace migrate::devices {

bool is_valid_name(std::string_view name) {
    constexpr std::string_view kAllowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
    return !name.empty() && name.size() <= kMaxNameBytes &&
           name.find_first_not_of(kAllowed) == std::string_view::npos;
}

std::string DeviceId::text() const {
    return instance == 0 ? name : fmt::format("{}#{}", name, instance);
}

Error own_error(Error error) {
    if (error.kind() == ErrorKind::kCancelled) return error;
    return std::move(error).as(ErrorKind::kFailed);
}

}  // namespace migrate::devices
