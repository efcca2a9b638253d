// SPDX-License-Identifier: Apache-2.0
// The assembler's encodings, which are not run, against what the decoder makes of them.
#include "accel/softdsa/preload/instruction.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "catch.hpp"

using namespace migrate::accel::softdsa::preload;

// ENCODED(name, assembly): the bytes from name_begin to name_end.
#define ENCODED(name, assembly)                                        \
    asm(".pushsection .rodata\n" #name "_begin:\n" assembly "\n" #name \
        "_end:\n"                                                      \
        ".popsection");                                                \
    extern "C" const std::uint8_t name##_begin[];                      \
    extern "C" const std::uint8_t name##_end[]

ENCODED(code_plain, "enqcmd (%rsi), %rdi");
ENCODED(code_supervisor, "enqcmds (%rsi), %rdi");
ENCODED(code_movdir, "movdir64b (%rdx), %rax");
ENCODED(code_rex, "enqcmd 0x10(%r9), %r15");
ENCODED(code_wide, "movdir64b -0x1000(%rbx), %r8");
ENCODED(code_sib, "enqcmd -8(%r12,%r13,4), %rcx");
ENCODED(code_stack, "movdir64b 0x40(%rsp), %r11");
ENCODED(code_r12, "enqcmd (%r12), %rbp");
ENCODED(code_r13, "enqcmd 0(%r13), %rbp");
ENCODED(code_no_base, "enqcmd 0x1234(,%rdi,8), %rdx");
ENCODED(code_absolute, "enqcmd 0x12345678, %rdx");
ENCODED(code_relative, "movdir64b 0x100(%rip), %r14");
ENCODED(code_narrow, "enqcmd (%esi), %edi");
ENCODED(code_narrow_relative, "enqcmd 0x20(%eip), %edi");
ENCODED(code_fs, "enqcmd %fs:0x20(%rax), %rdi");
ENCODED(code_gs, "movdir64b %gs:(%rax), %rdi");
ENCODED(code_umonitor, "umonitor %rdi");
ENCODED(code_umonitor_high, "umonitor %r12");
ENCODED(code_umwait, "umwait %ebx");
ENCODED(code_tpause, "tpause %r9d");
ENCODED(code_clwb, "clwb (%rsi)");           // 66 0F AE /6 with memory
ENCODED(code_other, "crc32l (%rsi), %edi");  // F2 0F 38 F1
ENCODED(code_undefined, "ud2");
ENCODED(code_load, "mov (%rsi), %rdi");
ENCODED(code_movbe, "movbe (%rsi), %edi");  // 0F 38 F0

namespace {

Registers test_registers() {
    Registers registers;
    for (std::size_t i = 0; i < 16; ++i) registers.general[i] = 0x1111'2222'0000'0000 + 0x10000 * i;
    registers.rip = 0x7fff'0000'1000;
    return registers;
}

constexpr std::size_t kRax = 0, kRcx = 1, kRdx = 2, kRbx = 3, kRsp = 4, kRbp = 5, kRsi = 6,
                      kRdi = 7;

struct Case {
    const char* name;
    const std::uint8_t* begin;
    const std::uint8_t* end;
    Submission submission;
    std::uint64_t destination;
    std::uint64_t source;
    Segment segment = Segment::kNone;
};

#define BYTES(name) #name, name##_begin, name##_end

}  // namespace

TEST_CASE("decoder knows the instructions that wait, and only these") {
    const auto length = [](const std::uint8_t* begin, const std::uint8_t* end) {
        return static_cast<std::size_t>(end - begin);
    };
    struct Wait {
        const char* name;
        const std::uint8_t* begin;
        const std::uint8_t* end;
        bool waits;
    };
    for (const Wait& each :
         {Wait{BYTES(code_umonitor), false}, Wait{BYTES(code_umonitor_high), false},
          Wait{BYTES(code_umwait), true}, Wait{BYTES(code_tpause), true}}) {
        CAPTURE(each.name);
        const auto found = decode_user_wait(each.begin);
        REQUIRE(found);
        CHECK(found->length == length(each.begin, each.end));
        CHECK(found->waits == each.waits);
        CHECK_FALSE(decode(each.begin, test_registers()));
    }
    for (const std::uint8_t* other : {code_clwb_begin, code_plain_begin, code_undefined_begin,
                                      code_load_begin, code_movdir_begin, code_supervisor_begin})
        CHECK_FALSE(decode_user_wait(other));
}

TEST_CASE("decoder finds operands and length of every form of address") {
    const Registers r = test_registers();
    const auto& g = r.general;
    const auto end_of = [&](const std::uint8_t* begin, const std::uint8_t* end) {
        return r.rip + static_cast<std::uint64_t>(end - begin);
    };
    const std::array cases{
        Case{BYTES(code_plain), Submission::kEnqcmd, g[kRdi], g[kRsi]},
        Case{BYTES(code_supervisor), Submission::kEnqcmds, g[kRdi], g[kRsi]},
        Case{BYTES(code_movdir), Submission::kMovdir64b, g[kRax], g[kRdx]},
        Case{BYTES(code_rex), Submission::kEnqcmd, g[15], g[9] + 0x10},
        Case{BYTES(code_wide), Submission::kMovdir64b, g[8], g[kRbx] - 0x1000},
        Case{BYTES(code_sib), Submission::kEnqcmd, g[kRcx], g[12] + 4 * g[13] - 8},
        Case{BYTES(code_stack), Submission::kMovdir64b, g[11], g[kRsp] + 0x40},
        Case{BYTES(code_r12), Submission::kEnqcmd, g[kRbp], g[12]},
        Case{BYTES(code_r13), Submission::kEnqcmd, g[kRbp], g[13]},
        Case{BYTES(code_no_base), Submission::kEnqcmd, g[kRdx], 8 * g[kRdi] + 0x1234},
        Case{BYTES(code_absolute), Submission::kEnqcmd, g[kRdx], 0x12345678},
        Case{BYTES(code_relative), Submission::kMovdir64b, g[14],
             end_of(code_relative_begin, code_relative_end) + 0x100},
        Case{BYTES(code_narrow), Submission::kEnqcmd, g[kRdi] & 0xffff'ffff, g[kRsi] & 0xffff'ffff},
        Case{BYTES(code_narrow_relative), Submission::kEnqcmd, g[kRdi] & 0xffff'ffff,
             (end_of(code_narrow_relative_begin, code_narrow_relative_end) + 0x20) & 0xffff'ffff},
        Case{BYTES(code_fs), Submission::kEnqcmd, g[kRdi], g[kRax] + 0x20, Segment::kFs},
        Case{BYTES(code_gs), Submission::kMovdir64b, g[kRdi], g[kRax], Segment::kGs},
    };
    for (const Case& expected : cases) {
        INFO(expected.name);
        const auto found = decode(expected.begin, r);
        REQUIRE(found.has_value());
        CHECK(found->submission == expected.submission);
        CHECK(found->length == expected.end - expected.begin);
        CHECK(found->destination == expected.destination);
        CHECK(found->source == expected.source);
        CHECK(found->segment == expected.segment);
    }
}

TEST_CASE("decoder leaves every other instruction alone") {
    const Registers registers = test_registers();
    for (const auto* code :
         {code_other_begin, code_undefined_begin, code_load_begin, code_movbe_begin}) {
        CHECK_FALSE(decode(code, registers).has_value());
    }
}

TEST_CASE("decoder refuses what the CPU refuses") {
    const Registers registers = test_registers();
    const std::array<std::vector<std::uint8_t>, 3> wrong{{
        {0xf2, 0x0f, 0x38, 0xf8, 0xc0},  // the source a register
        {0x0f, 0x38, 0xf8, 0x06},        // no prefix
        {0xf2, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x0f, 0x38, 0xf8,
         0x06},  // 16 bytes
    }};
    for (const auto& code : wrong) CHECK_FALSE(decode(code.data(), registers).has_value());
}

TEST_CASE("a REX prefix counts only directly before the opcode, the last repeat prefix wins") {
    const Registers registers = test_registers();
    const std::array<std::uint8_t, 6> lost_rex{0x4d, 0xf2, 0x0f, 0x38, 0xf8, 0x3e};
    const auto first = decode(lost_rex.data(), registers);
    REQUIRE(first.has_value());
    CHECK(first->destination == registers.general[kRdi]);
    CHECK(first->source == registers.general[kRsi]);
    const std::array<std::uint8_t, 7> both{0x66, 0xf3, 0xf2, 0x0f, 0x38, 0xf8, 0x3e};
    const auto second = decode(both.data(), registers);
    REQUIRE(second.has_value());
    CHECK(second->submission == Submission::kEnqcmd);
    CHECK(second->length == 7);
}
