// SPDX-License-Identifier: Apache-2.0
#include "guest/bundle/bundle_manifest.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/limits.hpp"
#include "base/page_buffer.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/guest.hpp"
#include "memory/digest.hpp"

namespace migrate::guest {
namespace {

// Keys are sorted, so that equal content has equal text.
using Json = nlohmann::json;

constexpr std::string_view kFormat = "migrate-bundle";
constexpr std::size_t kDigestDigits = 32;
constexpr std::size_t kMostTextBytes = 255;
constexpr std::size_t kMostSettings = 128;
constexpr int kMostDepth = 8;
// The most physical memory that x86-64 can address.
constexpr std::uint64_t kMostMemoryBytes = std::uint64_t{1} << 52U;

template <typename... Args>
Error invalid(fmt::format_string<Args...> format, Args&&... args) {
    return make_error("it is no manifest of a bundle: {}",
                      fmt::format(format, std::forward<Args>(args)...));
}

std::string dump(const Json& json, int indent) {
    return json.dump(indent, ' ', true, Json::error_handler_t::replace);
}

std::string digest_of(const Json& manifest) { return content_digest(dump(manifest, -1)); }

Json file_json(const BundleFile& file) {
    return {{"file", file.file}, {"size", file.size_bytes}, {"digest", file.digest}};
}

Json machine_json(const std::vector<MachinePart>& machine) {
    Json parts = Json::array();
    for (const MachinePart& part : machine) {
        parts.push_back({{"place", part.place},
                         {"type", part.type},
                         {"name", part.name},
                         {"properties", part.properties}});
    }
    return parts;
}

// Text ends up in logs and on terminals.
bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

Result<std::string> read_text(const Json& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_string()) return invalid("'{}' is not a text", key);
    auto text = found->get<std::string>();
    if (text.size() > kMostTextBytes || !is_printable(text)) {
        return invalid("'{}' is not a text of up to {} printable characters", key, kMostTextBytes);
    }
    return text;
}

Result<std::uint64_t> read_number(const Json& json, const char* key, std::uint64_t most) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() > most) {
        return invalid("'{}' is not a number up to {}", key, most);
    }
    return found->get<std::uint64_t>();
}

Result<std::map<std::string, std::string>> read_texts(const Json& json, const char* key,
                                                      std::size_t most) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_object() || found->size() > most) {
        return invalid("'{}' is not an object of at most {} texts", key, most);
    }
    std::map<std::string, std::string> texts;
    for (const auto& entry : found->items()) {
        const std::string& name = entry.key();
        if (name.size() > kMostTextBytes || !is_printable(name)) {
            return invalid("'{}' has a name of other than printable characters", key);
        }
        MIGRATE_ASSIGN(texts[name], read_text(*found, name.c_str()));
    }
    return texts;
}

Result<BundleFile> read_file(const Json& json, std::uint64_t most_bytes) {
    if (!json.is_object()) return invalid("a file is not an object");
    BundleFile file;
    MIGRATE_ASSIGN(file.file, read_text(json, "file"));
    MIGRATE_ASSIGN(file.size_bytes, read_number(json, "size", most_bytes));
    MIGRATE_ASSIGN(file.digest, read_text(json, "digest"));
    if (!is_bundle_name(file.file) || file.file == kManifestName) {
        return invalid("'{}' is no name of a file of a bundle", file.file);
    }
    if (file.size_bytes == 0) return invalid("'{}' has a size of 0", file.file);
    if (file.digest.size() != kDigestDigits) return invalid("'{}' has no digest", file.file);
    return file;
}

Status read_regions(const Json& json, BundleManifest& manifest) {
    const auto found = json.find("regions");
    if (found == json.end() || !found->is_array() || found->empty() ||
        found->size() > kMaxRegions) {
        return invalid("'regions' is not a list of 1 to {}", kMaxRegions);
    }
    std::set<std::string> names;
    std::set<std::string> files{manifest.devices.file};
    std::uint64_t total = 0;
    for (const Json& entry : *found) {
        MIGRATE_ASSIGN(BundleFile file, read_file(entry, kMostMemoryBytes));
        MIGRATE_ASSIGN(std::string name, read_text(entry, "name"));
        if (name.empty()) return invalid("a region has no name");
        if (file.size_bytes % kPageSize != 0) {
            return invalid("the size of the region '{}' is not a multiple of {}", name, kPageSize);
        }
        total += file.size_bytes;
        if (total > kMostMemoryBytes) return invalid("the regions' sizes add up to too much");
        if (!names.insert(name).second) return invalid("the region '{}' comes twice", name);
        if (!files.insert(file.file).second) return invalid("'{}' is used twice", file.file);
        manifest.region_names.push_back(std::move(name));
        manifest.regions.push_back(std::move(file));
    }
    return {};
}

Status read_machine(const Json& json, BundleManifest& manifest) {
    const auto found = json.find("machine");
    if (found == json.end() || !found->is_array() || found->size() > kMaxMachineParts) {
        return invalid("'machine' is not a list of at most {} parts", kMaxMachineParts);
    }
    for (const Json& entry : *found) {
        if (!entry.is_object()) return invalid("a part of the machine is not an object");
        MachinePart part;
        MIGRATE_ASSIGN(part.place, read_text(entry, "place"));
        MIGRATE_ASSIGN(part.type, read_text(entry, "type"));
        MIGRATE_ASSIGN(part.name, read_text(entry, "name"));
        MIGRATE_ASSIGN(part.properties, read_texts(entry, "properties", kMaxPartProperties));
        if (part.place.empty()) return invalid("a part of the machine has no place");
        manifest.machine.push_back(std::move(part));
    }
    return {};
}

// Leaves out what is nested deeper than anything in a manifest, because writing JSON takes a call
// for each level; the digest does not match then.
Json parse_flat(std::string_view text) {
    const auto keep = [](int depth, Json::parse_event_t, const Json&) {
        return depth <= kMostDepth;
    };
    return Json::parse(text.begin(), text.end(), keep, false);
}

// Checks what every version has.
Status check_header(Json& json) {
    if (!json.is_object() || json.value("format", Json()) != Json(kFormat)) {
        return invalid("its 'format' is not '{}'", kFormat);
    }
    MIGRATE_ASSIGN(const std::uint64_t version, read_number(json, "version", UINT32_MAX));
    if (version != kBundleVersion) {
        return make_error(
            "the bundle is of version {}, and this program knows {}: use the program "
            "that wrote it, or a newer one",
            version, kBundleVersion);
    }
    MIGRATE_ASSIGN(const std::string digest, read_text(json, "digest"));
    json.erase("digest");
    if (digest_of(json) == digest) return {};
    return Error("it was changed or damaged: its content does not match its digest");
}

}  // namespace

std::string content_digest(std::string_view content) {
    const std::uint64_t pages = (content.size() + kPageSize - 1) / kPageSize;
    PageBuffer padded(pages * kPageSize);
    std::copy(content.begin(), content.end(), reinterpret_cast<char*>(padded.data()));
    return memory::digest_content(padded.data(), {0, pages}).hex();
}

std::string to_text(const BundleManifest& manifest) {
    Json regions = Json::array();
    for (std::size_t i = 0; i < manifest.regions.size(); ++i) {
        Json region = file_json(manifest.regions[i]);
        region["name"] = manifest.region_names[i];
        regions.push_back(std::move(region));
    }
    Json json = {{"format", kFormat},
                 {"version", kBundleVersion},
                 {"program", manifest.program},
                 {"guest", manifest.guest},
                 {"page-size", kPageSize},
                 {"regions", std::move(regions)},
                 {"devices", file_json(manifest.devices)},
                 {"machine", machine_json(manifest.machine)},
                 {"settings", manifest.settings}};
    json["digest"] = digest_of(json);
    return dump(json, 2) + "\n";
}

Result<BundleManifest> parse_manifest(std::string_view text) {
    Json json = parse_flat(text);
    MIGRATE_TRY(check_header(json));
    BundleManifest manifest;
    MIGRATE_ASSIGN(manifest.program, read_text(json, "program"));
    MIGRATE_ASSIGN(manifest.guest, read_text(json, "guest"));
    MIGRATE_ASSIGN(const std::uint64_t page_size, read_number(json, "page-size", UINT32_MAX));
    if (page_size != kPageSize) return invalid("its pages have {} bytes", page_size);
    const auto devices = json.find("devices");
    if (devices == json.end()) return invalid("it has no 'devices'");
    MIGRATE_ASSIGN(manifest.devices, read_file(*devices, kMaxStateBytes));
    MIGRATE_TRY(read_regions(json, manifest));
    MIGRATE_TRY(read_machine(json, manifest));
    MIGRATE_ASSIGN(manifest.settings, read_texts(json, "settings", kMostSettings));
    return manifest;
}

}  // namespace migrate::guest
