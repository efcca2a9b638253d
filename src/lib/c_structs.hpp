// SPDX-License-Identifier: Apache-2.0
// Reads and writes the structs of the C API, whose size the caller states: callers that were
// compiled with an earlier or a later migrate.h use the same library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "base/error.hpp"

namespace migrate::lib {

// Returns the struct as this library knows it. kUsage if it is null, too small, or larger with a
// member set that this library does not know. `first`: its size in the first version.
template <typename Struct>
Result<Struct> read_struct(const Struct* given, std::size_t first = sizeof(Struct)) {
    static_assert(std::is_trivially_copyable_v<Struct>);
    if (given == nullptr) return Error(ErrorKind::kUsage, "a struct is null");
    std::size_t size = 0;
    std::memcpy(&size, given, sizeof size);
    constexpr std::size_t kLargest = 4096;
    if (size < first || size > kLargest) {
        return make_error(ErrorKind::kUsage, "struct_size is {}: set it to the struct's sizeof",
                          size);
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    if (size > sizeof(Struct) &&
        std::any_of(bytes + sizeof(Struct), bytes + size, [](auto byte) { return byte != 0; })) {
        return Error(ErrorKind::kUsage,
                     "a struct has members that this version of the library does not know");
    }
    Struct copy{};
    std::memcpy(&copy, given, std::min(size, sizeof(Struct)));
    return copy;
}

// Fills in what the caller's struct has room for; its struct_size stays. Errors as above.
template <typename Struct>
Status write_struct(Struct value, Struct* to, std::size_t first = sizeof(Struct)) {
    MIGRATE_ASSIGN(const Struct before, read_struct(to, first));
    value.struct_size = before.struct_size;
    std::memcpy(to, &value, std::min(before.struct_size, sizeof(Struct)));
    return {};
}

}  // namespace migrate::lib
