// SPDX-License-Identifier: Apache-2.0
// A bundle as the destination of a guest: its memory goes into files, its state into another one,
// and it is "resumed" by giving the manifest its name. Invariant: the guest belongs to the bundle
// exactly if the manifest has its name; a source that was not told so keeps its guest.
#pragma once

#include <string_view>

#include "base/config/form.hpp"
#include "base/error.hpp"
#include "guest/guest.hpp"

namespace migrate::guest {

// `parsed` is a bundle: of kSinkForms. The folder is made if there is none, and stays, empty, if no
// guest comes.
Result<Destination> open_bundle_destination(std::string_view uri, const ParsedForm& parsed);

}  // namespace migrate::guest
