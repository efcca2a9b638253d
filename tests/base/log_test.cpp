// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <string>

#include "catch.hpp"

using namespace migrate;

namespace {

std::string written;  // by the writer, on the test's thread

}  // namespace

TEST_CASE("a writer takes the messages of the level and above in place of standard error") {
    log::set_level(log::Level::kWarning);
    log::set_writer([](log::Level level, std::string_view message) {
        written += std::string(name_of(level)) + ": " + std::string(message) + "\n";
    });
    log::info("too little");
    log::warning("disk {} is full", 7);
    log::error("gone");
    log::set_writer(nullptr);
    log::set_level(log::Level::kInfo);
    CHECK(written == "warning: disk 7 is full\nerror: gone\n");
}
