// SPDX-License-Identifier: Apache-2.0
// The answers of a failing device.
#pragma once

#include <cstdint>

#include "accel/softdsa/operations.hpp"

namespace migrate::accel::softdsa {

// True for 3 and 4, with bit 7 set or not, and for a false predicate: the bytes that are reported
// as done were done.
bool is_partial(std::uint8_t status);
// True if the operation's answer is in the record, and not (only) in memory.
bool answers_by_record(dsa::Opcode opcode);
// Returns a status with which a descriptor may be refused.
std::uint8_t random_error(std::uint64_t random);

// Returns the status with random bytes in every other field.
Outcome garbage(std::uint8_t status, std::uint64_t random);
// Returns the same partial outcome with another status; a complete outcome changes only to a false
// predicate.
Outcome with_status(Outcome outcome, std::uint8_t status);
// Returns success with a wrong answer.
Outcome falsified(Outcome outcome, const dsa::Descriptor& descriptor, std::uint64_t random);

}  // namespace migrate::accel::softdsa
