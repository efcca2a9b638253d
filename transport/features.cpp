// SPDX-License-Identifier: Apache-2.0
#include "transport/features.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

// Features that a receiver needs to read this sender's stream, by name; see PROTOCOL.md.
constexpr std::array<std::string_view, 2> kFeatures{"multifd", "run-list"};
// Needed in addition if a guest is to continue at the receiver.
constexpr std::string_view kGuestFeature = "guest";
// Needed if devices other than the guest's own state are to arrive, on any channel.
constexpr std::string_view kDevicesFeature = "devices";
// Needed if devices must come on the data channels.
constexpr std::string_view kDeviceStateFeature = "device-state";
// Needed if the guest is to come back, once or several times.
constexpr std::string_view kReturnFeature = "return";
constexpr std::array kOptionalFeatures{kGuestFeature, kDevicesFeature, kDeviceStateFeature,
                                       kReturnFeature};

constexpr auto kAllFeatures = [] {
    std::array<std::string_view, kFeatures.size() + kOptionalFeatures.size()> all{};
    std::copy(kOptionalFeatures.begin(), kOptionalFeatures.end(),
              std::copy(kFeatures.begin(), kFeatures.end(), all.begin()));
    return all;
}();

}  // namespace

std::span<const std::string_view> feature_names() { return kAllFeatures; }

MessageJson features_of(const Offer& offer) {
    MessageJson features = kFeatures;
    if (!offer.guest.empty()) features.push_back(kGuestFeature);
    const auto is_guests = [](const OfferedDevice& device) { return device.kind == "guest"; };
    if (!std::all_of(offer.devices.begin(), offer.devices.end(), is_guests)) {
        features.push_back(kDevicesFeature);
    }
    if (offer.device_state == DeviceStateMode::kOn) features.push_back(kDeviceStateFeature);
    if (offer.journey.leg != 0) features.push_back(kReturnFeature);
    return features;
}

Status check_features(const MessageJson& json) {
    const auto found = json.find("features");
    if (found == json.end() || !found->is_array()) return protocol_error("'features' is missing");
    for (const MessageJson& feature : *found) {
        const std::string name =
            feature.is_string() ? printable(feature.get<std::string>(), 64) : "?";
        if (std::find(kAllFeatures.begin(), kAllFeatures.end(), name) == kAllFeatures.end()) {
            return protocol_error(
                fmt::format("the sender needs the feature '{}', which this receiver does not have: "
                            "update the receiver, or switch the feature off at the sender",
                            name));
        }
    }
    return {};
}

}  // namespace migrate::transport
