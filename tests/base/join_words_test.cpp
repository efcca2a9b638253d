// SPDX-License-Identifier: Apache-2.0
#include "base/join_words.hpp"

#include <vector>

#include "catch.hpp"

using migrate::join_words;

TEST_CASE("a list in a message has a conjunction before its last word only") {
    using Words = std::vector<std::string_view>;
    CHECK(join_words(Words{}, "and").empty());
    CHECK(join_words(Words{"a"}, "and") == "a");
    CHECK(join_words(Words{"a", "b"}, "or") == "a or b");
    CHECK(join_words(Words{"a", "b", "c"}, "and") == "a, b and c");
}
