// SPDX-License-Identifier: Apache-2.0
// The manifest of a bundle: what the guest is, and the size and digest of each file. It is JSON
// with a digest of its own. Invariant: what parse_manifest() returns keeps the limits of a
// migration's offer, names each file once and only by names that is_bundle_name() allows, and is
// what to_text() was given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/machine_part.hpp"
#include "base/units.hpp"

namespace migrate::guest {

inline constexpr unsigned kBundleVersion = 1;
inline constexpr std::uint64_t kMaxManifestBytes = kMiB;

struct BundleFile {
    std::string file;  // its name in the folder
    std::uint64_t size_bytes = 0;
    std::string digest;  // content_digest(), or that of a region (memory/digest.hpp)
};

struct BundleManifest {
    std::string program;  // that wrote it: "migrate 0.1.0"
    std::string guest;    // its kind
    std::vector<std::string> region_names;
    std::vector<BundleFile> regions;  // one for each name
    BundleFile devices;               // the guest's own state
    std::vector<MachinePart> machine;
    std::map<std::string, std::string> settings;  // those of the sender that were not the default
};

// 32 hex digits.
std::string content_digest(std::string_view content);

std::string to_text(const BundleManifest& manifest);
// Accepts any bytes; an Error says what is wrong with them.
Result<BundleManifest> parse_manifest(std::string_view text);

}  // namespace migrate::guest
