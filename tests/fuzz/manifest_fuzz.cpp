// SPDX-License-Identifier: Apache-2.0
// Drives what reads a bundle's manifest, which anybody may have changed: once as it is, and once
// with the digest that belongs to its content, so that the checks behind the digest are reached.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/limits.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/bundle/bundle_manifest.hpp"
#include "guest/guest.hpp"

namespace {

using namespace migrate;
using namespace migrate::guest;
using Json = nlohmann::json;

void require(bool condition) {
    if (!condition) std::abort();
}

std::string text_of(const Json& json) {
    return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Checks the promises of parse_manifest().
void check(std::string_view text) {
    const auto manifest = parse_manifest(text);
    if (!manifest) return;
    require(!manifest->regions.empty() && manifest->regions.size() <= kMaxRegions);
    require(manifest->region_names.size() == manifest->regions.size());
    require(manifest->devices.size_bytes <= kMaxStateBytes);
    require(is_bundle_name(manifest->devices.file));
    for (const BundleFile& region : manifest->regions) {
        require(region.size_bytes != 0 && region.size_bytes % kPageSize == 0);
        require(is_bundle_name(region.file) && region.file.find('/') == std::string::npos);
        require(region.file != manifest->devices.file);
    }
    const auto again = parse_manifest(to_text(*manifest));
    require(again && to_text(*again) == to_text(*manifest));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check(text);
    const auto shallow = [](int depth, Json::parse_event_t, const Json&) { return depth <= 8; };
    Json json = Json::parse(text.begin(), text.end(), shallow, false);
    if (!json.is_object()) return 0;
    json.erase("digest");
    json["digest"] = content_digest(text_of(json));
    check(text_of(json));
    return 0;
}
