// What a device that fails says.
#pragma once

#include <cstdint>

#include "accel/softdsa/operations.hpp"

namespace migrate::accel::softdsa {

// 3 and 4, bit 7 set or not: the bytes that are reported as done were done.
bool is_partial(std::uint8_t status);
// The operation's answer is in the record, and not (only) in memory.
bool answers_by_record(dsa::Opcode opcode);
// One that a descriptor may be refused with.
std::uint8_t random_error(std::uint64_t random);

// The status, and random bytes in every other field.
Outcome garbage(std::uint8_t status, std::uint64_t random);
// The same partial outcome with another status; one that is complete stays as it is.
Outcome with_status(Outcome outcome, std::uint8_t status);
// Success with the wrong answer.
Outcome falsified(Outcome outcome, const dsa::Descriptor& descriptor, std::uint64_t random);

}  // namespace migrate::accel::softdsa
