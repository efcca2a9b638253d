// SPDX-License-Identifier: Apache-2.0
// The settings of a command: a value per row of the option table, and its origin. Invariant: every
// value is valid for its row, from the defaults on; a weaker origin (default < file < flag) never
// replaces a value of a stronger one, whichever is set first.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/config/option_lookup.hpp"
#include "base/error.hpp"

namespace migrate {

enum class Origin { kDefault, kFile, kFlag };

class Settings {
  public:
    // Sets all defaults.
    explicit Settings(Side side);

    Side side() const { return side_; }

    // Checks the text against the row and keeps it, unless a stronger origin has set the row. Fails
    // with kUsage for an unknown key (naming the nearest), an option of the other side, and a value
    // that is not allowed.
    Status set(std::string_view key, std::string_view text, Origin origin = Origin::kFlag);

    // The value of the row with this key, empty text if it is not set; see row_value() for `T`.
    template <FixedString Key, typename T = void>
    requires HasOptionRow<Key>
    decltype(auto) get() const {
        constexpr std::size_t kIndex = option_index<Key>();
        return row_value<kOptions, kIndex, T>(entries_[kIndex].value);
    }

    // Access by row, for code that walks the whole table.
    const OptionValue& value(std::size_t index) const { return entries_[index].value; }
    Origin origin(std::size_t index) const { return entries_[index].origin; }

  private:
    struct Entry {
        OptionValue value;
        Origin origin = Origin::kDefault;
    };

    Side side_;
    std::array<Entry, kOptionCount> entries_;
};

// Checks all values together: required options are set, and no options contradict each other. Fails
// with kUsage.
Status validate(const Settings& settings);

}  // namespace migrate
