#include "transport/parts_cursor.hpp"

#include "catch.hpp"
#include "tests/support/noise.hpp"

namespace migrate::transport {
namespace {

TEST_CASE("the parts that a cursor hands out are all bytes in their order, in steps of any size") {
    auto content = noise(100);
    std::vector<iovec> parts;
    for (const auto& [at, size] : {std::pair{0, 7}, {7, 0}, {7, 1}, {8, 52}, {60, 40}}) {
        parts.push_back({content.data() + at, static_cast<std::size_t>(size)});
    }
    for (std::size_t step = 1; step <= content.size() + 1; ++step) {
        INFO("steps of " << step << " bytes");
        PartsCursor cursor(parts);
        std::vector<std::byte> all;
        while (cursor.left() != 0) {
            std::vector<iovec> taken;
            const std::size_t left = cursor.left();
            cursor.take(step, taken);
            CHECK(left - cursor.left() == std::min(step, left));
            for (const iovec& part : taken) {
                CHECK(part.iov_len != 0);
                all.insert(all.end(), bytes_of(part).begin(), bytes_of(part).end());
            }
        }
        CHECK(all == content);
    }
}

}  // namespace
}  // namespace migrate::transport
