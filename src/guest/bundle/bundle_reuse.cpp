// SPDX-License-Identifier: Apache-2.0
#include "guest/bundle/bundle_reuse.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/regular_file.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/bundle/bundle_machine.hpp"
#include "guest/bundle/bundle_manifest.hpp"

namespace migrate::guest {
namespace {

using memory::ReuseFile;
using memory::ReuseFiles;

Result<std::unique_ptr<ReuseFiles>> open_bundle(const std::string& path) {
    MIGRATE_ASSIGN(BundleFolder opened, BundleFolder::open(path, BundleFolder::Use::kRead));
    auto folder = std::make_shared<BundleFolder>(std::move(opened));
    MIGRATE_ASSIGN(const BundleManifest manifest, read_manifest(*folder));
    std::vector<ReuseFile> files;
    for (std::size_t i = 0; i < manifest.regions.size(); ++i) {
        const std::string& name = manifest.regions[i].file;
        MIGRATE_ASSIGN(UniqueFd file, folder->open_file(name));
        files.push_back({manifest.region_names[i], folder->path_of(name), std::move(file)});
    }
    return std::make_unique<ReuseFiles>(path, std::move(files), std::move(folder));
}

Result<std::unique_ptr<ReuseFiles>> open_image(const std::string& path) {
    MIGRATE_ASSIGN(UniqueFd file, open_regular_file(path, O_RDONLY));
    std::vector<ReuseFile> files;
    files.push_back({.path = path, .file = std::move(file)});
    return std::make_unique<ReuseFiles>(path, std::move(files));
}

}  // namespace

Result<std::unique_ptr<ReuseFiles>> open_reuse_files(const std::string& path) {
    struct stat status {};
    const bool is_folder = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    auto files = is_folder ? open_bundle(path) : open_image(path);
    if (files) return files;
    return std::move(files).error().as(ErrorKind::kUsage).with_context("option reuse");
}

}  // namespace migrate::guest
