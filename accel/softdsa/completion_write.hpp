// SPDX-License-Identifier: Apache-2.0
// A completion record and where it belongs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace migrate::accel::softdsa {

struct CompletionWrite {
    std::uint64_t address = 0;
    std::array<std::byte, 32> record{};
};

}  // namespace migrate::accel::softdsa
