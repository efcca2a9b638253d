// SPDX-License-Identifier: Apache-2.0
// Reads fields of QEMU's answers. These come from another program, so a missing field or a field of
// another type reads as empty, 0 or false.
#pragma once

#include <cstdint>
#include <string>

#include "qmp/message.hpp"

namespace migrate::guest {

inline std::string text_of(const qmp::Json& object, const char* key) {
    const auto member = object.find(key);
    return object.is_object() && member != object.end() && member->is_string()
               ? member->get<std::string>()
               : std::string();
}

inline std::uint64_t number_of(const qmp::Json& object, const char* key) {
    const auto member = object.find(key);
    return object.is_object() && member != object.end() && member->is_number_unsigned()
               ? member->get<std::uint64_t>()
               : 0;
}

inline bool flag_of(const qmp::Json& object, const char* key) {
    const auto member = object.find(key);
    return object.is_object() && member != object.end() && member->is_boolean() &&
           member->get<bool>();
}

}  // namespace migrate::guest
