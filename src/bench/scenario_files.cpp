// SPDX-License-Identifier: Apache-2.0
#include "bench/scenario_files.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/suggestion.hpp"
#include "bench/builtin_scenarios.hpp"

namespace migrate::bench {
namespace {

namespace fs = std::filesystem;

Result<Scenario> load_file(const fs::path& path) {
    std::error_code ignored;
    std::ifstream file(path);
    std::ostringstream text;
    if (!fs::is_regular_file(path, ignored) || !file || !(text << file.rdbuf())) {
        return make_error(ErrorKind::kUsage, "cannot read the scenario {}", path.string());
    }
    return parse_scenario(text.str(), path.string());
}

Result<Scenario> load_builtin(const BuiltinScenario& builtin) {
    return parse_scenario(builtin.text, fmt::format("built-in scenario {}", builtin.name));
}

Result<std::vector<fs::path>> files_of(const std::string& folder) {
    std::vector<fs::path> paths;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
        if (entry.path().extension() == ".json") paths.push_back(entry.path());
    }
    if (failed) {
        return make_error(ErrorKind::kUsage, "--scenarios {}: {}", folder, failed.message());
    }
    if (paths.empty()) {
        return make_error(ErrorKind::kUsage, "--scenarios {}: the folder has no .json file",
                          folder);
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
    std::vector<std::string> names;
    if (folder.empty()) {
        for (const BuiltinScenario& builtin : builtin_scenarios()) names.emplace_back(builtin.name);
        return names;
    }
    MIGRATE_ASSIGN(const std::vector<fs::path> paths, files_of(folder));
    for (const fs::path& path : paths) names.push_back(path.stem().string());
    return names;
}

Error unknown_scenario(const std::string& name, const std::vector<std::string>& known) {
    const std::vector<std::string_view> names(known.begin(), known.end());
    return make_error(ErrorKind::kUsage,
                      "unknown scenario '{}'{} (--list shows all; a file is named by a path with "
                      "a slash or .json)",
                      name, suggestion(name, names));
}

Result<Scenario> load_named(const std::string& name, const std::string& folder) {
    if (!folder.empty()) return load_file(fs::path(folder) / (name + ".json"));
    const auto all = builtin_scenarios();
    const auto found = std::find_if(all.begin(), all.end(), [&](const BuiltinScenario& builtin) {
        return builtin.name == name;
    });
    if (found == all.end()) return unknown_scenario(name, {name});
    return load_builtin(*found);
}

}  // namespace

Result<std::vector<Scenario>> load_all(const std::string& folder) {
    MIGRATE_ASSIGN(const std::vector<std::string> names, names_in(folder));
    std::vector<Scenario> scenarios;
    for (const std::string& name : names) {
        MIGRATE_ASSIGN(Scenario scenario, load_named(name, folder));
        scenarios.push_back(std::move(scenario));
    }
    return scenarios;
}

Result<Scenario> load_scenario(const std::string& name, const std::string& folder) {
    if (name.find('/') != std::string::npos || name.ends_with(".json")) return load_file(name);
    MIGRATE_ASSIGN(const std::vector<std::string> names, names_in(folder));
    if (std::find(names.begin(), names.end(), name) == names.end()) {
        return unknown_scenario(name, names);
    }
    return load_named(name, folder);
}

}  // namespace migrate::bench
