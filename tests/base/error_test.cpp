// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"

#include <cerrno>
#include <memory>
#include <string>

#include "catch.hpp"

using namespace migrate;

namespace {

Status fail_if(bool fails) {
    if (fails) return make_error(ErrorKind::kPeer, "it failed");
    return {};
}

Result<int> half(int number) {
    if (number % 2 != 0) return make_error("{} is odd", number);
    return number / 2;
}

Result<int> quarter(int number) {
    MIGRATE_ASSIGN(const int once, half(number));
    MIGRATE_ASSIGN(const int twice, half(once));
    return twice;
}

Status try_both(bool first, bool second) {
    MIGRATE_TRY(fail_if(first));
    MIGRATE_TRY(fail_if(second));
    return {};
}

}  // namespace

TEST_CASE("an error collects context in front and keeps its kind") {
    const Error error = make_error(ErrorKind::kProtocol, "page {} is outside of the region", 7)
                            .with_context("offset 4096")
                            .with_context("channel 3");
    CHECK(error.message() == "channel 3: offset 4096: page 7 is outside of the region");
    CHECK(error.kind() == ErrorKind::kProtocol);
    CHECK(Error("plain").kind() == ErrorKind::kFailed);
    CHECK(Error("plain").as(ErrorKind::kTimeout).kind() == ErrorKind::kTimeout);
}

TEST_CASE("a system error says what could not be done and why") {
    CHECK(Error::system("open /x", ENOENT).message() ==
          "cannot open /x: No such file or directory");
}

TEST_CASE("a result holds a value or an error") {
    CHECK(*half(4) == 2);
    CHECK(half(3).error().message() == "3 is odd");
    Result<std::unique_ptr<int>> owner = std::make_unique<int>(5);
    REQUIRE(owner);
    const std::unique_ptr<int> taken = *std::move(owner);
    CHECK(*taken == 5);
    // An error of text type is not mistaken for the value.
    const Result<std::string> text = std::string("value");
    REQUIRE(text);
    CHECK(text->size() == 5);
}

TEST_CASE("a failed step leaves the function with its error") {
    CHECK(*quarter(12) == 3);
    CHECK(quarter(6).error().message() == "3 is odd");
    CHECK(quarter(5).error().message() == "5 is odd");
    CHECK(try_both(false, false));
    CHECK(try_both(true, false).error().message() == "it failed");
    CHECK(try_both(false, true).error().kind() == ErrorKind::kPeer);
}
