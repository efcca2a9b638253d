// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/instruction.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

// Reads the bytes one by one; the CPU refuses an instruction longer than 15 bytes.
class Code {
  public:
    explicit Code(const std::uint8_t* begin) : begin_(begin) {}

    std::uint8_t peek() const { return begin_[length_]; }
    std::uint8_t take() { return begin_[length_++]; }
    // Reads a little-endian signed number.
    std::uint64_t take_displacement(unsigned bytes) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < bytes; ++i) value |= std::uint64_t{take()} << (8 * i);
        const std::uint64_t sign = std::uint64_t{1} << (8 * bytes - 1);
        return (value ^ sign) - sign;
    }
    std::size_t length() const { return length_; }

  private:
    const std::uint8_t* begin_;
    std::size_t length_ = 0;
};

struct Prefixes {
    bool operand_size = false;    // 66h
    std::uint8_t repeat = 0;      // F2h or F3h, the last one counts
    bool address_32_bit = false;  // 67h
    Segment segment = Segment::kNone;
    std::uint8_t rex = 0;
};

constexpr std::uint8_t kRexX = 2;
constexpr std::uint8_t kRexR = 4;

// Records `byte` and returns true if it is a legacy prefix.
bool note_prefix(std::uint8_t byte, Prefixes& prefixes) {
    switch (byte) {
        case 0x66:
            prefixes.operand_size = true;
            return true;
        case 0xf2:
        case 0xf3:
            prefixes.repeat = byte;
            return true;
        case 0x67:
            prefixes.address_32_bit = true;
            return true;
        case 0x64:
            prefixes.segment = Segment::kFs;
            return true;
        case 0x65:
            prefixes.segment = Segment::kGs;
            return true;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            return true;  // es, cs, ss, ds: without effect in 64-bit mode
        default:
            return false;
    }
}

// Stops before the opcode. Returns nothing if there are too many prefixes.
std::optional<Prefixes> take_prefixes(Code& code) {
    Prefixes prefixes;
    while (code.length() < kLongestInstruction) {
        const std::uint8_t byte = code.peek();
        if (note_prefix(byte, prefixes)) {
            prefixes.rex = 0;  // a REX prefix counts only directly before the opcode
        } else if ((byte & 0xf0) == 0x40) {
            prefixes.rex = byte;
        } else {
            return prefixes;
        }
        code.take();
    }
    return std::nullopt;
}

std::optional<Submission> submission_of(const Prefixes& prefixes) {
    if (prefixes.repeat == 0xf2) return Submission::kEnqcmd;
    if (prefixes.repeat == 0xf3) return Submission::kEnqcmds;
    if (prefixes.operand_size) return Submission::kMovdir64b;
    return std::nullopt;
}

// Returns an operand's register number including its fourth bit.
unsigned register_number(unsigned low, std::uint8_t rex, std::uint8_t bit) {
    return low | ((rex & bit) != 0 ? 8U : 0U);
}

struct Operand {
    std::uint64_t address = 0;
    bool rip_relative = false;  // the instruction's end must still be added
};

// Evaluates the SIB byte; mod 0 with base 5 means a displacement without a base.
std::uint64_t take_sib(Code& code, unsigned mod, const Prefixes& prefixes,
                       const Registers& registers) {
    const std::uint8_t sib = code.take();
    const unsigned index = register_number((sib >> 3) & 7U, prefixes.rex, kRexX);
    std::uint64_t address = 0;
    if (index != 4) address = registers.general[index] << (sib >> 6);
    if ((sib & 7U) == 5 && mod == 0) return address + code.take_displacement(4);
    return address + registers.general[register_number(sib & 7U, prefixes.rex, 1)];
}

Operand take_operand(Code& code, std::uint8_t modrm, const Prefixes& prefixes,
                     const Registers& registers) {
    const unsigned mod = modrm >> 6;
    const unsigned rm = modrm & 7U;
    Operand operand;
    if (rm == 4) {
        operand.address = take_sib(code, mod, prefixes, registers);
    } else if (rm == 5 && mod == 0) {
        operand.rip_relative = true;
        operand.address = code.take_displacement(4);
    } else {
        operand.address = registers.general[register_number(rm, prefixes.rex, 1)];
    }
    if (mod == 1) operand.address += code.take_displacement(1);
    if (mod == 2) operand.address += code.take_displacement(4);
    return operand;
}

}  // namespace

std::optional<Instruction> decode(const std::uint8_t* bytes, const Registers& registers) {
    Code code(bytes);
    const auto prefixes = take_prefixes(code);
    if (!prefixes) return std::nullopt;
    const auto submission = submission_of(*prefixes);
    if (!submission) return std::nullopt;
    if (code.take() != 0x0f || code.take() != 0x38 || code.take() != 0xf8) return std::nullopt;
    const std::uint8_t modrm = code.take();
    if ((modrm >> 6) == 3) return std::nullopt;  // the source is memory

    const Operand source = take_operand(code, modrm, *prefixes, registers);
    if (code.length() > kLongestInstruction) return std::nullopt;
    const std::uint64_t mask = prefixes->address_32_bit ? 0xffff'ffff : ~std::uint64_t{0};
    const unsigned destination = register_number((modrm >> 3) & 7U, prefixes->rex, kRexR);
    Instruction instruction;
    instruction.submission = *submission;
    instruction.length = static_cast<std::uint8_t>(code.length());
    instruction.destination = registers.general[destination] & mask;
    instruction.source =
        (source.address + (source.rip_relative ? registers.rip + code.length() : 0)) & mask;
    instruction.segment = prefixes->segment;
    return instruction;
}

std::optional<UserWait> decode_user_wait(const std::uint8_t* bytes) {
    Code code(bytes);
    const auto prefixes = take_prefixes(code);
    if (!prefixes || (prefixes->repeat == 0 && !prefixes->operand_size)) return std::nullopt;
    if (code.take() != 0x0f || code.take() != 0xae) return std::nullopt;
    // /6 with a register: with memory it is another instruction.
    if ((code.take() & 0xf8) != 0xf0 || code.length() > kLongestInstruction) return std::nullopt;
    return UserWait{static_cast<std::uint8_t>(code.length()), prefixes->repeat != 0xf3};
}

}  // namespace migrate::accel::softdsa::preload
