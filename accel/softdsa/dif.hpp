// SPDX-License-Identifier: Apache-2.0
// The operations on blocks that carry a data integrity field (DIF) of T10: 8 bytes with a CRC of
// the block (guard), an application tag and a reference tag, big-endian. Source: Intel Data
// Streaming Accelerator Architecture Specification, DIF operations, and <linux/idxd.h> for the
// layout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/softdsa/operations.hpp"
#include "accel/softdsa/transfer.hpp"

namespace migrate::accel::softdsa {

inline constexpr std::size_t kDifBytes = 8;
// Bytes of a block without its field, by bits 1:0 of the DIF flags.
inline constexpr std::array<std::uint32_t, 4> kDifBlockBytes{512, 520, 4096, 4104};

// DIF flags
inline constexpr std::uint8_t kDifInvertSeed = 0x04;
inline constexpr std::uint8_t kDifInvertResult = 0x08;
// Source DIF flags
inline constexpr std::uint8_t kDifAllOnesIsError = 0x01;  // together with the next one
inline constexpr std::uint8_t kDifDetectAllOnes = 0x02;
inline constexpr std::uint8_t kDifDetectApplicationOnes = 0x04;  // such a block is not checked
inline constexpr std::uint8_t kDifDetectTagOnes = 0x08;          // such a block is not checked
inline constexpr std::uint8_t kDifNoGuardCheck = 0x20;
inline constexpr std::uint8_t kDifNoReferenceCheck = 0x40;
// Source and destination DIF flags
inline constexpr std::uint8_t kDifCountApplication = 0x10;  // the tag grows with each block
inline constexpr std::uint8_t kDifFixedReference = 0x80;    // the tag does not
// Destination DIF flags of an update: the source's value is kept
inline constexpr std::uint8_t kDifKeepApplication = 0x08;
inline constexpr std::uint8_t kDifKeepGuard = 0x20;
inline constexpr std::uint8_t kDifKeepReference = 0x40;

// Result of a check that failed (status kDifError)
inline constexpr std::uint8_t kDifGuardError = 0x01;
inline constexpr std::uint8_t kDifApplicationError = 0x02;
inline constexpr std::uint8_t kDifReferenceError = 0x04;
inline constexpr std::uint8_t kDifAllOnesError = 0x08;

// Bytes of a block in the source, and in the destination (0: nothing is written).
struct DifBlocks {
    std::uint32_t source = 0;
    std::uint32_t destination = 0;
};
DifBlocks dif_blocks(const dsa::Descriptor& descriptor);

// Executes a DIF descriptor that check() accepted. The buffers hold kChunkBytes each.
Outcome execute_dif(const dsa::Descriptor& descriptor, Transfer& transfer, std::byte* in,
                    std::byte* out);

// CRC of T10: polynomial 0x8BB7, the most significant bit first.
std::uint16_t crc16_t10(std::uint16_t seed, std::span<const std::byte> data);

}  // namespace migrate::accel::softdsa
