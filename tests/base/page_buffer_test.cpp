// SPDX-License-Identifier: Apache-2.0
#include "base/page_buffer.hpp"

#include <cstdint>

#include "catch.hpp"

namespace migrate {
namespace {

TEST_CASE("a page buffer of any size begins at a page, also after it has grown") {
    PageBuffer buffer;
    for (std::size_t size = 1; size <= std::size_t{1} << 20; size *= 3) {
        buffer.resize(size, std::byte{7});
        INFO(size << " bytes");
        CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % kPageSize == 0);
        CHECK(buffer.back() == std::byte{7});
    }
}

}  // namespace
}  // namespace migrate
