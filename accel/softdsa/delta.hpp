// SPDX-License-Identifier: Apache-2.0
// The operations on delta records: the 8-byte words in which one memory differs from another, each
// as its number (16 bits) and its content. Devices of version 2 have them. Source: Intel Data
// Streaming Accelerator Architecture Specification, Create Delta Record and Apply Delta Record, and
// <linux/idxd.h> for the layout.
#pragma once

#include <cstddef>
#include <cstdint>

#include "accel/softdsa/operations.hpp"
#include "accel/softdsa/transfer.hpp"

namespace migrate::accel::softdsa {

inline constexpr std::uint32_t kDeltaWordBytes = 8;
inline constexpr std::uint32_t kDeltaEntryBytes = 10;
inline constexpr std::uint32_t kMostDeltaBytes = 0x8'0000;  // of the memory that is compared
inline constexpr std::uint32_t kLeastDeltaRecordBytes = 80;

// Result of a creation
inline constexpr std::uint8_t kDeltaEqual = 0;
inline constexpr std::uint8_t kDeltaCreated = 1;
inline constexpr std::uint8_t kDeltaTooLarge = 2;  // the record has the first differences

// They execute a descriptor that check() accepted. The buffers hold kChunkBytes each. After a page
// fault no bytes count as completed, so the client repeats the whole operation.
Outcome create_delta(const dsa::Descriptor& descriptor, Transfer& transfer, std::byte* words,
                     std::byte* entries);
Outcome apply_delta(const dsa::Descriptor& descriptor, Transfer& transfer, std::byte* entries);

}  // namespace migrate::accel::softdsa
