// SPDX-License-Identifier: Apache-2.0
// Finds scenarios: those compiled into the program, those of a folder, and single files.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/scenario.hpp"

namespace migrate::bench {

// Every scenario of the folder, or of the program where `folder` is empty, sorted by name. Fails
// with kUsage if the folder cannot be read or has no scenario, and on the first scenario that is
// wrong.
Result<std::vector<Scenario>> load_all(const std::string& folder);

// The scenario with that name, out of the folder or the program as above. A `name` with a slash in
// it, or one that ends in .json, is the path of a file instead. Fails with kUsage.
Result<Scenario> load_scenario(const std::string& name, const std::string& folder);

}  // namespace migrate::bench
