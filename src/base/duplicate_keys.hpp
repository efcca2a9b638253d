// SPDX-License-Identifier: Apache-2.0
// Detects a key that its JSON object already has: nlohmann's parser silently keeps one of the two.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace migrate {

// For one text. `Json` is a type of nlohmann_json.
template <typename Json>
class DuplicateKeys {
  public:
    // Called by the parser's callback for each event.
    void see(typename Json::parse_event_t event, const Json& parsed) {
        if (event == Json::parse_event_t::object_start) {
            keys_.emplace_back();
        } else if (event == Json::parse_event_t::object_end) {
            keys_.pop_back();
        } else if (event == Json::parse_event_t::key) {
            const auto& key = parsed.template get_ref<const std::string&>();
            if (!keys_.back().insert(key).second && first_.empty()) first_ = key;
        }
    }
    // The first such key; empty if there is none.
    const std::string& first() const { return first_; }

  private:
    std::vector<std::set<std::string>> keys_;  // one set of keys for each open object
    std::string first_;
};

}  // namespace migrate
