// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/first_look.hpp"

#include "catch.hpp"
#include "tests/accel/mapped_pages.hpp"

namespace migrate::accel::dsa {
namespace {

constexpr std::uint32_t kPages = 100;

TEST_CASE("a first look recognizes the pages that differ in their first 64 bytes, and only those") {
    const Mapping memory = map_pages(kPages, MAP_POPULATE);
    for (std::size_t page = 0; page < kPages; page += 3)
        memory.data()[page * kPageSize + page % 64] = std::byte{1};
    memory.data()[kPageSize + 64] = std::byte{1};  // beyond what is looked at
    FirstLook look(kPages);
    // Several extents, whose pages count on.
    const std::array extents = {PageExtent{memory.data(), 65},
                                PageExtent{memory.data() + 65 * kPageSize, kPages - 65}};
    look.look(extents);
    for (std::size_t page = 0; page < kPages; ++page)
        CHECK((look.not_zero()[page / 64] >> (page % 64) & 1) == (page % 3 == 0 ? 1U : 0U));
    // Nothing is left of it in the next batch.
    look.look({extents.data() + 1, 1});
    CHECK((look.not_zero()[1] | look.not_zero()[0] >> 35) == 0);
}

TEST_CASE("zeros are looked at now and then only, and at every batch once others come") {
    const Mapping memory = map_pages(kPages, MAP_POPULATE);
    const PageExtent extent{memory.data(), kPages};
    FirstLook look(kPages);
    const auto looks = [&](int batches) {
        int count = 0;
        for (int i = 0; i < batches; ++i) {
            if (!look.is_due()) continue;
            look.look({&extent, 1});
            ++count;
        }
        return count;
    };
    looks(100);
    CHECK(looks(1600) == 25);
    for (std::size_t page = 0; page < kPages; page += 2)
        memory.data()[page * kPageSize] = std::byte{1};
    looks(200);
    CHECK(looks(1600) == 1600);
}

}  // namespace
}  // namespace migrate::accel::dsa
