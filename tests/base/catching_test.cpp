// SPDX-License-Identifier: Apache-2.0
#include "base/catching.hpp"

#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "catch.hpp"

using namespace migrate;

TEST_CASE("a value or an error passes as it is, an exception becomes an error that says where") {
    CHECK(*catching("here", [] { return Result<int>(7); }) == 7);
    const auto failed = [](auto what) {
        const Status status = catching("here", [&]() -> Status { throw what; });
        return status ? "" : status.error().message();
    };
    const Status own =
        catching("here", [] { return Status(Error(ErrorKind::kTimeout, "too late")); });
    REQUIRE_FALSE(own);
    CHECK(own.error().kind() == ErrorKind::kTimeout);
    CHECK(own.error().message() == "too late");
    CHECK(failed(std::bad_alloc()) ==
          "here: out of memory (check the limits ulimit -v and ulimit -d)");
    CHECK(failed(std::length_error("basic_string::append")) == "here: basic_string::append");
    CHECK(failed(std::system_error(std::make_error_code(std::errc::too_many_files_open))) ==
          "here: Too many open files");
    CHECK(failed(std::filesystem::filesystem_error("status", std::error_code())).find("here: ") ==
          0);
    CHECK(failed("no exception of the library's") == "here: an exception of an unknown type");
}
