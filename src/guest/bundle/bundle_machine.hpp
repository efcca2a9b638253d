// SPDX-License-Identifier: Apache-2.0
// The guest in a bundle as the source of a migration. Invariant: it is offered only if every file
// of the bundle has the size and the digest that the manifest says.
#pragma once

#include <string_view>

#include "base/config/form.hpp"
#include "base/error.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/bundle/bundle_manifest.hpp"
#include "guest/guest.hpp"

namespace migrate::guest {

// `parsed` is a bundle: of kSourceForms. Reads all memory once, to compare the digests. An Error
// names the file that is missing, changed or damaged. The bundle stays as it is, whatever becomes
// of the guest, and no writer may replace it while the machine exists.
Result<Machine> open_bundle_machine(std::string_view uri, const ParsedForm& parsed);

// The manifest of a bundle whose files were not examined yet.
Result<BundleManifest> read_manifest(const BundleFolder& folder);

}  // namespace migrate::guest
