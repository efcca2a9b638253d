// SPDX-License-Identifier: Apache-2.0
#include "guest/bundle/bundle_writer.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "base/version.hpp"
#include "memory/pieces.hpp"

namespace migrate::guest {
namespace {

// The manifest of the bundle that the folder has; nothing if it has none. kUsage if the folder is
// used for something else.
Result<std::optional<BundleManifest>> find_former(const BundleFolder& folder) {
    MIGRATE_ASSIGN(const std::vector<std::string> names, folder.names());
    for (const std::string& name : names) {
        if (is_bundle_name(name)) continue;
        return make_error(
            ErrorKind::kUsage,
            "{} holds '{}', which is no file of a bundle: give the bundle a folder of "
            "its own",
            folder.path(), name);
    }
    std::optional<BundleManifest> former;
    if (!folder.has(std::string(kManifestName))) return former;
    auto text = folder.read(std::string(kManifestName), kMaxManifestBytes);
    Result<BundleManifest> parsed =
        text ? parse_manifest(*text) : Result<BundleManifest>(std::move(text).error());
    if (!parsed) {
        return make_error(ErrorKind::kUsage,
                          "{} may not be replaced, because its manifest is not whole ({}): remove "
                          "the folder first, or choose another one",
                          folder.path(), parsed.error().message());
    }
    former = *std::move(parsed);
    return former;
}

// Files that no manifest names are those of a writer that was killed.
Status remove_leftovers(const BundleFolder& folder, const std::optional<BundleManifest>& former) {
    std::vector<std::string> kept{std::string(kManifestName)};
    if (former) {
        kept.push_back(former->devices.file);
        for (const BundleFile& region : former->regions) kept.push_back(region.file);
    }
    MIGRATE_ASSIGN(const std::vector<std::string> names, folder.names());
    for (const std::string& name : names) {
        if (std::find(kept.begin(), kept.end(), name) != kept.end()) continue;
        log::info("{} is left from a write that was interrupted: it is removed",
                  folder.path_of(name));
        MIGRATE_TRY(folder.remove(name));
    }
    return {};
}

}  // namespace

Result<std::shared_ptr<BundleWriter>> BundleWriter::create(const std::string& path) {
    MIGRATE_TRY(make_bundle_folder(path));
    MIGRATE_ASSIGN(BundleFolder folder, BundleFolder::open(path, BundleFolder::Use::kWrite));
    MIGRATE_ASSIGN(const auto former, find_former(folder));
    MIGRATE_TRY(remove_leftovers(folder, former));
    MIGRATE_ASSIGN(std::string id, new_bundle_id());
    return std::shared_ptr<BundleWriter>(new BundleWriter(std::move(folder), std::move(id)));
}

BundleWriter::~BundleWriter() {
    if (published_) return;
    std::vector<std::string> own{name_of("devices"), name_of("manifest")};
    for (const BundleFile& region : manifest_.regions) own.push_back(region.file);
    for (const std::string& name : own) static_cast<void>(folder_.remove(name));
}

void BundleWriter::describe(const GuestOffer& offer) {
    manifest_.program = fmt::format("migrate {}", kVersion);
    manifest_.guest = offer.kind;
    manifest_.machine = offer.machine;
    manifest_.settings = offer.settings;
}

Result<memory::NewFile> BundleWriter::make_region(std::size_t region) {
    std::string name = name_of(fmt::format("memory-{}", region));
    MIGRATE_ASSIGN(UniqueFd file, folder_.create_file(name));
    std::string path = folder_.path_of(name);
    manifest_.regions.push_back({.file = std::move(name), .size_bytes = 0, .digest = {}});
    return memory::NewFile{std::move(file), std::move(path)};
}

// Returns the manifest.
std::string BundleWriter::describe_files(const memory::FilesSink& memory, std::string_view state) {
    manifest_.devices = {name_of("devices"), state.size(), content_digest(state)};
    const auto digests = memory.digests();
    for (std::size_t i = 0; i < digests.size(); ++i) {
        manifest_.region_names.push_back(memory.regions()[i].name);
        manifest_.regions[i].size_bytes = memory.regions()[i].size_bytes;
        manifest_.regions[i].digest = digests[i].hex();
    }
    return to_text(manifest_);
}

// The files go to the disk at the same time, so that they share the file system's transactions.
Status BundleWriter::complete(const memory::FilesSink& memory, std::string_view state) {
    const std::string text = describe_files(memory, state);
    // A name or a machine that would be refused later must fail now.
    const auto again = text.size() <= kMaxManifestBytes
                           ? parse_manifest(text)
                           : Result<BundleManifest>(make_error("it has {} bytes; {} are possible",
                                                               text.size(), kMaxManifestBytes));
    if (!again) {
        return make_error("{} cannot be written: {}", folder_.path_of(kManifestName),
                          again.error().message());
    }
    const std::array names{manifest_.devices.file, name_of("manifest")};
    std::array<UniqueFd, names.size()> files;
    MIGRATE_ASSIGN(files[0], folder_.write(names[0], state));
    MIGRATE_ASSIGN(files[1], folder_.write(names[1], text));
    const std::size_t regions = memory.regions().size();
    MIGRATE_TRY(
        memory::for_each_piece("sync", regions + files.size(), 1, [&](PageRange number) -> Status {
            if (number.first < regions) return memory.sync(static_cast<RegionId>(number.first));
            const std::size_t file = number.first - regions;
            if (::fdatasync(files[file].get()) == 0) return {};
            return Error::system(fmt::format("write {} to its disk", folder_.path_of(names[file])),
                                 errno);
        }));
    return folder_.sync();
}

Status BundleWriter::publish() {
    MIGRATE_TRY(folder_.publish_manifest(name_of("manifest")));
    if (Status synced = folder_.sync(); !synced) {
        // Otherwise both sides could have the guest.
        const Status removed = folder_.remove(std::string(kManifestName));
        if (removed) return synced;
        published_ = true;
        return Error(ErrorKind::kOwnerUnknown,
                     fmt::format("{}; the bundle {} may be lost if this host fails",
                                 synced.error().message(), folder_.path()));
    }
    published_ = true;
    remove_former();
    return {};
}

// The bundle whose place this one took.
void BundleWriter::remove_former() const {
    const auto names = folder_.names();
    if (!names) return log::warning("{}", names.error().message());
    for (const std::string& name : *names) {
        if (name == kManifestName || name.ends_with("." + id_)) continue;
        const Status removed = folder_.remove(name);
        if (!removed) log::warning("{}", removed.error().message());
    }
}

}  // namespace migrate::guest
