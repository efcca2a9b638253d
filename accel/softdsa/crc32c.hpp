// SPDX-License-Identifier: Apache-2.0
// The CRC of the CRC generation operations: polynomial 0x11EDC6F41, as in iSCSI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace migrate::accel::softdsa {

enum class CrcForm : std::uint8_t {
    kReflected,  // the seed and the result inverted and bit-reversed: the usual CRC-32C
    kPlain,      // neither (descriptor flag bit 17)
};
enum class CrcData : std::uint8_t {
    kLeastSignificantFirst,
    kMostSignificantFirst,  // flag bit 18
};

// The result of one piece is the seed of the next.
std::uint32_t crc32c(std::uint32_t seed, std::span<const std::byte> data, CrcForm form,
                     CrcData order);

}  // namespace migrate::accel::softdsa
