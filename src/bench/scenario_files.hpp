// Where scenarios are: in a folder that was named, beside the program as it was installed, or in
// the checkout that it was built from.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/scenario.hpp"

namespace migrate::bench {

// The folder with the scenarios: `given`, or else the first that is there of
// share/migrate/scenarios and configs/scenarios, from the program's own folder upwards. kUsage if
// there is none.
Result<std::filesystem::path> scenario_folder(const std::string& given);

// Every scenario of the folder, by name. Fails on the first that is wrong.
Result<std::vector<Scenario>> load_all(const std::filesystem::path& folder);

// By name, or by path where the text has a slash or ends in .json.
Result<Scenario> load_scenario(const std::string& name, const std::string& folder);

}  // namespace migrate::bench
