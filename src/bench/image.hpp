// Images of guest memory for scenarios: a file on tmpfs, resident from its first page to its last,
// which sender and peer read alike.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace migrate::bench {

// What "image:KIND:PERCENT" asks for.
struct ImageSpec {
    enum class Kind {
        kMixed,  // pages of random bytes, which do not compress
        kText,   // pages of which three quarters repeat
    };
    Kind kind = Kind::kMixed;
    unsigned percent = 50;  // pages with content, spread at random; the others are written zeros
    std::uint64_t bytes = 0;

    // A file name for it.
    std::string name() const;
};

// `source` was checked by parse_scenario.
ImageSpec image_spec(const std::string& source, std::uint64_t bytes);

// Writes the image; the same specification gives the same bytes. kCancelled when `stop_fd` becomes
// readable.
Status make_image(const ImageSpec& spec, const std::filesystem::path& path, int stop_fd);

}  // namespace migrate::bench
