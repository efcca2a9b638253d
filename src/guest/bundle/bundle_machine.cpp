// SPDX-License-Identifier: Apache-2.0
#include "guest/bundle/bundle_machine.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/bundle/bundle_manifest.hpp"
#include "memory/region_digest.hpp"
#include "memory/source/files_source.hpp"

namespace migrate::guest {
namespace {

// A guest that does not run, and whose state is known.
class StoredGuest final : public Guest {
  public:
    StoredGuest(BundleFolder folder, BundleManifest manifest, std::string state)
        : folder_(std::move(folder)), manifest_(std::move(manifest)), state_(std::move(state)) {}

    bool lives_here() const override { return false; }
    std::string_view kind() const override { return manifest_.guest; }
    bool running() const override { return false; }
    std::string_view method() const override { return "bundle"; }
    std::vector<MachinePart> machine() const override { return manifest_.machine; }
    Status pause() override { return {}; }
    Status resume() override { return {}; }
    Status throttle(unsigned) override { return {}; }
    Result<std::string> save_state() override { return state_; }
    Activity activity() const override { return {}; }
    Status check() override { return {}; }

  private:
    BundleFolder folder_;  // keeps writers out
    BundleManifest manifest_;
    std::string state_;
};

Status check_size(const BundleFolder& folder, const BundleFile& expected, std::uint64_t size) {
    if (size == expected.size_bytes) return {};
    return make_error("{} was changed or damaged: it has {} bytes and must have {}",
                      folder.path_of(expected.file), size, expected.size_bytes);
}

Status check_digest(const BundleFolder& folder, const BundleFile& expected,
                    const std::string& digest) {
    if (digest == expected.digest) return {};
    return make_error("{} was changed or damaged: its digest is {} and must be {}",
                      folder.path_of(expected.file), digest, expected.digest);
}

Result<std::string> read_devices(const BundleFolder& folder, const BundleFile& devices) {
    MIGRATE_ASSIGN(std::string state, folder.read(devices.file, kMaxStateBytes));
    MIGRATE_TRY(check_size(folder, devices, state.size()));
    MIGRATE_TRY(check_digest(folder, devices, content_digest(state)));
    return state;
}

Result<std::unique_ptr<memory::PageSource>> open_memory(std::string_view uri,
                                                        const BundleFolder& folder,
                                                        const BundleManifest& manifest) {
    std::vector<memory::RegionImage> images;
    for (std::size_t i = 0; i < manifest.regions.size(); ++i) {
        const BundleFile& region = manifest.regions[i];
        MIGRATE_ASSIGN(UniqueFd file, folder.open_file(region.file));
        struct stat status {};
        if (::fstat(file.get(), &status) != 0) {
            return Error::system(fmt::format("examine {}", folder.path_of(region.file)), errno);
        }
        MIGRATE_TRY(check_size(folder, region, static_cast<std::uint64_t>(status.st_size)));
        images.push_back({manifest.region_names[i], folder.path_of(region.file), std::move(file)});
    }
    return memory::make_files_source(uri, std::move(images));
}

// Called before a receiver is asked to take the guest.
Status check_memory(const BundleFolder& folder, const BundleManifest& manifest,
                    const memory::PageSource& source) {
    const unsigned threads = std::max(1U, std::thread::hardware_concurrency());
    MIGRATE_ASSIGN(const auto digests, memory::digest_source(source, threads, {}));
    for (std::size_t i = 0; i < digests.size(); ++i) {
        MIGRATE_TRY(check_digest(folder, manifest.regions[i], digests[i].hex()));
    }
    return source.check_unchanged();
}

Result<Machine> open_machine_in(std::string_view uri, const std::string& path) {
    MIGRATE_ASSIGN(BundleFolder folder, BundleFolder::open(path, BundleFolder::Use::kRead));
    MIGRATE_ASSIGN(BundleManifest manifest, read_manifest(folder));
    MIGRATE_ASSIGN(std::string state, read_devices(folder, manifest.devices));
    MIGRATE_ASSIGN(auto memory, open_memory(uri, folder, manifest));
    MIGRATE_TRY(check_memory(folder, manifest, *memory));
    log::info("the bundle {} is whole: a guest of the kind '{}', written by {}", path,
              manifest.guest, manifest.program);
    return Machine{
        std::move(memory),
        std::make_unique<StoredGuest>(std::move(folder), std::move(manifest), std::move(state)),
        {}};
}

}  // namespace

Result<BundleManifest> read_manifest(const BundleFolder& folder) {
    const std::string name(kManifestName);
    if (!folder.has(name)) {
        return make_error("{} is no complete bundle: it has no {} (was its write interrupted?)",
                          folder.path(), name);
    }
    MIGRATE_ASSIGN(const std::string text, folder.read(name, kMaxManifestBytes));
    auto manifest = parse_manifest(text);
    if (manifest) return manifest;
    return std::move(manifest).error().with_context(folder.path_of(name));
}

Result<Machine> open_bundle_machine(std::string_view uri, const ParsedForm& parsed) {
    auto machine = open_machine_in(uri, parsed.operand.value.text);
    if (!machine) return as_refusal(std::move(machine).error().with_context(uri));
    return machine;
}

}  // namespace migrate::guest
