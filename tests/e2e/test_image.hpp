// SPDX-License-Identifier: Apache-2.0
// Guest-memory images for the end-to-end tests.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/temporary_folder.hpp"

namespace migrate::e2e {

// Number of pages of each kind in an image.
struct ImagePages {
    std::uint64_t content = 0;
    std::uint64_t zero = 0;  // written, but zero
    std::uint64_t hole = 0;

    std::uint64_t total() const { return content + zero + hole; }
};

// On a RAM file system where there is one.
std::string scratch_parent();

// Holes, zero runs, text, random pages and pages that are zero but for one byte; the same for the
// same seed.
ImagePages make_image(const std::string& path, std::uint64_t mib, std::uint64_t seed);

// MIGRATE_TEST_IMAGE, or else an image generated once and removed with the program.
const std::string& full_image();

// Returns true if both files have the same size and bytes.
bool same_content(const std::string& a, const std::string& b);

}  // namespace migrate::e2e
