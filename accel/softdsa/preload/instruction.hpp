// SPDX-License-Identifier: Apache-2.0
// Decodes the three instructions that carry a descriptor to a work queue, at the address where the
// CPU refused to run one. Reads no byte after the first one that rules the instruction out, so
// other code may end at the end of its page. Source: Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2, ENQCMD, ENQCMDS and MOVDIR64B, and chapter 2 for prefixes, REX,
// ModRM and SIB. 64-bit mode only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace migrate::accel::softdsa::preload {

enum class Submission : std::uint8_t {
    kEnqcmd,     // F2 0F 38 F8 /r: the queue answers in ZF
    kEnqcmds,    // F3 0F 38 F8 /r: the kernel's; in a program it faults on hardware, too
    kMovdir64b,  // 66 0F 38 F8 /r: no answer
};

enum class Segment : std::uint8_t { kNone, kFs, kGs };

struct Registers {
    std::array<std::uint64_t, 16> general{};  // by number: rax rcx rdx rbx rsp rbp rsi rdi…
    std::uint64_t rip = 0;
};

struct Instruction {
    Submission submission = Submission::kEnqcmd;
    std::uint8_t length = 0;  // bytes
    std::uint64_t destination = 0;
    std::uint64_t source = 0;          // the base of its segment must still be added
    Segment segment = Segment::kNone;  // of the source; the destination has none in 64-bit mode
};

inline constexpr std::size_t kLongestInstruction = 15;

// Decodes the instruction at `code`, whose address is registers.rip; nothing for any other
// instruction.
std::optional<Instruction> decode(const std::uint8_t* code, const Registers& registers);

// UMONITOR, or one that waits: UMWAIT or TPAUSE. Source: the manual's volume 2.
struct UserWait {
    std::uint8_t length = 0;  // bytes
    bool waits = false;
};

// Decodes one of these at `code`; nothing for any other instruction.
std::optional<UserWait> decode_user_wait(const std::uint8_t* code);

}  // namespace migrate::accel::softdsa::preload
