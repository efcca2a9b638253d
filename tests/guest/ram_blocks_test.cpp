// SPDX-License-Identifier: Apache-2.0
// QEMU's list of its RAM blocks.
#include "guest/qemu/ram_blocks.hpp"

#include "base/units.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;

constexpr std::string_view kHeader =
    "              Block Name    PSize              Offset               Used              Total  "
    "              HVA  RO\r\n";

std::string line_of(std::string_view name, std::string_view used = "0x0000000000020000",
                    std::string_view address = "0x00007f1744200000") {
    return fmt::format("{:>24}    4 KiB  0x00000000110c0000 {} 0x0000000000200000 {}  ro\r\n", name,
                       used, address);
}

std::vector<RamBlock> parsed(const std::string& lines) {
    auto blocks = must(parse_ram_blocks(std::string(kHeader) + lines));
    REQUIRE(blocks);
    return *std::move(blocks);
}

TEST_CASE("RAM blocks are read from QEMU's list, whatever their names are") {
    const auto blocks =
        parsed(line_of("/rom@etc/acpi/tables") +
               "                  a b  c    2 MiB  0x0 0x200000 0x200000 0x7f0000000000  rw\r\n");
    REQUIRE(blocks.size() == 2);
    CHECK(blocks[0] == RamBlock{"/rom@etc/acpi/tables", 4096, 0x20000, 0x7f1744200000});
    CHECK(blocks[1] == RamBlock{"a b  c", 2 * kMiB, 2 * kMiB, 0x7f0000000000});
}

TEST_CASE("a block without a name is not moved by QEMU, and left out") {
    CHECK(parsed(line_of("") + line_of("pc.ram")).size() == 1);
}

TEST_CASE("a QEMU that does not tell addresses has no list") {
    CHECK_FALSE(must(parse_ram_blocks(
        "              Block Name    PSize              Offset               Used              "
        "Total\r\n                  pc.ram    4 KiB  0x0 0x10000000 0x10000000\r\n")));
    CHECK_FALSE(must(parse_ram_blocks("unknown command: 'info ramblock'\r\n")));
    CHECK_FALSE(must(parse_ram_blocks("")));
}

TEST_CASE("a list that cannot be understood is an error, and never a shorter list") {
    for (const std::string& lines :
         {std::string("pc.ram\r\n"), line_of("pc.ram", "0x20001"), line_of("pc.ram", "0x0"),
          line_of("pc.ram", "0x400000"), line_of("pc.ram", "0x20000", "0x7f1744200001"),
          line_of("pc.ram", "0x20000", "0xffffffffffff0000"), line_of("pc.ram", "131072"),
          line_of("pc.ram") + line_of("pc.ram"), std::string()}) {
        INFO(lines);
        const auto blocks = parse_ram_blocks(std::string(kHeader) + lines);
        REQUIRE_FALSE(blocks);
        CHECK(blocks.error().kind() == ErrorKind::kProtocol);
    }
}

TEST_CASE("a block that was added, removed, resized or moved is named") {
    const std::vector<RamBlock> opened{{"pc.ram", 4096, kMiB, 0x1000}, {"rom", 4096, 4096, 0x9000}};
    must(check_same_blocks(opened, {opened[1], opened[0]}));
    std::vector<RamBlock> now = opened;
    now.push_back({"dimm", 4096, kMiB, 0xA000});
    CHECK_THAT(message_of(check_same_blocks(opened, now)), Contains("'dimm'"));
    CHECK_THAT(message_of(check_same_blocks(now, opened)), Contains("'dimm' was removed"));
    now = opened;
    now[1].used_bytes = 8192;
    CHECK_THAT(message_of(check_same_blocks(opened, now)), Contains("'rom' had 4 KiB, and has 8"));
    now = opened;
    now[0].address = 0x2000;
    CHECK_THAT(message_of(check_same_blocks(opened, now)), Contains("'pc.ram' is somewhere else"));
}

}  // namespace
}  // namespace migrate::guest
