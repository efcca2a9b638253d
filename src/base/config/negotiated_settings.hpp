// SPDX-License-Identifier: Apache-2.0
// The sender's values of all options that both sides share: the rows with `negotiated`. They travel
// in the offer as text by key. Invariant: every value is valid for its row, from the defaults on; a
// key without `negotiated` does not compile.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/config/setting_value.hpp"
#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate {

// The option table has a negotiated row with this key.
template <FixedString Key>
concept HasNegotiatedRow = HasOptionRow<Key> && kOptions[find_option(Key.view())].negotiated;

class NegotiatedSettings {
  public:
    // Sets all defaults.
    NegotiatedSettings() = default;
    // Takes the values of a sender's settings.
    explicit NegotiatedSettings(const Settings& sender);

    // Fails with kUsage for a key without a negotiated row, and for a value that is not allowed.
    Status set(std::string_view key, std::string_view text);

    // The value of the row with this key; see row_value() for `T`.
    template <FixedString Key, typename T = void>
    requires HasNegotiatedRow<Key>
    decltype(auto) get() const { return values_.get<Key, T>(); }

    // The values that are not the default, as set() reads them.
    std::map<std::string, std::string> changed() const;
    // All values for a report, in the order of the table.
    SettingValues report() const;

    // Shorthands for the settings that many places use.
    // multifd-channels: channels at the start; whether more may be added; the largest number.
    std::uint16_t channels() const { return adds_channels() ? kFirstAutoChannels : fixed(); }
    bool adds_channels() const { return fixed() == kAutoChannels; }
    std::uint16_t most_channels() const { return adds_channels() ? kMostAutoChannels : fixed(); }
    std::uint64_t packet_bytes() const { return get<"multifd-packet-size">(); }
    Compression compression() const { return get<"multifd-compression", Compression>(); }
    bool verify() const { return get<"verify", Verify>() == Verify::kDigest; }

  private:
    std::uint16_t fixed() const { return get<"multifd-channels", std::uint16_t>(); }

    Settings values_{Side::kSend};
};

}  // namespace migrate
