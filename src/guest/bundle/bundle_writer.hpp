// SPDX-License-Identifier: Apache-2.0
// Writes a guest into a bundle. Invariants: until publish() a bundle that the folder had stays
// complete, and the new files are no bundle, because no manifest names them; a manifest gets its
// name only when everything that it names is on the disk. Destruction removes what was not
// published.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/bundle/bundle_manifest.hpp"
#include "guest/guest.hpp"
#include "memory/sink/files_sink.hpp"

namespace migrate::guest {

class BundleWriter {
  public:
    // Makes the folder if there is none, and removes the files of writers that were killed. kUsage
    // if the folder holds anything but a bundle.
    static Result<std::shared_ptr<BundleWriter>> create(const std::string& path);
    BundleWriter(const BundleWriter&) = delete;
    BundleWriter& operator=(const BundleWriter&) = delete;
    ~BundleWriter();

    const std::string& path() const { return folder_.path(); }
    // The guest that comes.
    void describe(const GuestOffer& offer);
    const std::string& guest() const { return manifest_.guest; }

    // The steps, in order. An Error at any of them leaves no new bundle.
    Result<memory::NewFile> make_region(std::size_t region);
    // The memory is written: writes the guest's state and, under another name, the manifest, and
    // waits until all files are on the disk.
    Status complete(const memory::FilesSink& memory, std::string_view state);
    // The bundle appears, or takes the place of the one that the folder had. kOwnerUnknown if it
    // appeared, but may be lost if the host fails now, and cannot be removed.
    Status publish();

  private:
    BundleWriter(BundleFolder folder, std::string id)
        : folder_(std::move(folder)), id_(std::move(id)) {}
    std::string name_of(std::string_view what) const { return fmt::format("{}.{}", what, id_); }
    std::string describe_files(const memory::FilesSink& memory, std::string_view state);
    void remove_former() const;

    BundleFolder folder_;
    std::string id_;
    BundleManifest manifest_;
    bool published_ = false;
};

}  // namespace migrate::guest
