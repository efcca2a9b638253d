// SPDX-License-Identifier: Apache-2.0
// Images of guest memory for scenarios: files on tmpfs with every page resident, which migrate and
// the peer both read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace migrate::bench {

// The words of "image:KIND:PERCENT".
struct ImageSpec {
    enum class Kind {
        kMixed,  // pages of random bytes, which do not compress
        kText,   // pages of which three quarters repeat
    };
    Kind kind = Kind::kMixed;
    unsigned percent = 50;  // pages with content, spread at random; the others are written zeros
    std::uint64_t bytes = 0;

    // The image's file name.
    std::string name() const;
};

// `source` was checked by parse_scenario.
ImageSpec image_spec(const std::string& source, std::uint64_t bytes);

// Writes the image; the same specification gives the same bytes. kCancelled when `stop_fd` becomes
// readable.
Status make_image(const ImageSpec& spec, const std::filesystem::path& path, int stop_fd);

}  // namespace migrate::bench
