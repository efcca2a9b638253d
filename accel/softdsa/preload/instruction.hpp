// Recognises the three instructions that carry a descriptor to a work queue, at the place where the
// CPU refused to run one. Reads no byte behind the first that rules the instruction out, so the
// code of anything else may end at the end of its page.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, ENQCMD, ENQCMDS
// and MOVDIR64B, and chapter 2 for prefixes, REX, ModRM and SIB. 64-bit mode only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace migrate::accel::softdsa::preload {

enum class Submission : std::uint8_t {
    kEnqcmd,     // F2 0F 38 F8 /r: the queue answers in ZF
    kEnqcmds,    // F3 0F 38 F8 /r: the kernel's; a program that runs it faults on hardware, too
    kMovdir64b,  // 66 0F 38 F8 /r: no answer
};

enum class Segment : std::uint8_t { kNone, kFs, kGs };

struct Registers {
    std::array<std::uint64_t, 16> general{};  // by their numbers: rax rcx rdx rbx rsp rbp rsi rdi…
    std::uint64_t rip = 0;
};

struct Instruction {
    Submission submission = Submission::kEnqcmd;
    std::uint8_t length = 0;  // bytes
    std::uint64_t destination = 0;
    std::uint64_t source = 0;          // to which the base of its segment is still to be added
    Segment segment = Segment::kNone;  // of the source; the destination has none in 64-bit mode
};

inline constexpr std::size_t kLongestInstruction = 15;

// The instruction at `code`, which stands at registers.rip; nothing for any other.
std::optional<Instruction> decode(const std::uint8_t* code, const Registers& registers);

}  // namespace migrate::accel::softdsa::preload
