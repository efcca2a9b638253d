// SPDX-License-Identifier: Apache-2.0
// The main() of every test program, compiled once.
//
// MIGRATE_TEST_LOG=1 prints what the tested code tells its operator. Without it only errors are
// printed, so that a failure is not lost among the messages of the cases that pass.
#include <cstdlib>

#ifdef MIGRATE_CATCH2_V3
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "base/log.hpp"

int main(int argc, char** argv) {
    if (std::getenv("MIGRATE_TEST_LOG") == nullptr) {
        migrate::log::set_level(migrate::log::Level::kError);
    }
    return Catch::Session().run(argc, argv);
}
