#include "transport/parts_cursor.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"

namespace migrate::transport {
namespace {

std::string text_of(const std::vector<iovec>& parts) {
    std::string text;
    for (const iovec& part : parts) {
        text.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    return text;
}

TEST_CASE("slices of any size follow each other without a gap, and have no empty part") {
    const std::array<std::string, 5> words{"", "abc", "", "defghij", "k"};
    std::vector<iovec> parts;
    for (const std::string& word : words) parts.push_back(part_of(std::as_bytes(std::span(word))));
    const std::size_t size = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{3},
                                      std::size_t{10}, std::size_t{11}, std::size_t{12});
    PartsCursor cursor(parts);
    std::vector<iovec> taken;
    for (std::size_t left = 11; left != 0;) {
        REQUIRE(cursor.left() == left);
        std::vector<iovec> slice;
        cursor.take(size, slice);
        CHECK(text_of(slice).size() == std::min(size, left));
        for (const iovec& part : slice) CHECK(part.iov_len != 0);
        left -= text_of(slice).size();
        taken.insert(taken.end(), slice.begin(), slice.end());
    }
    CHECK(text_of(taken) == "abcdefghijk");
    cursor.take(size, taken);
    CHECK(text_of(taken) == "abcdefghijk");
}

}  // namespace
}  // namespace migrate::transport
