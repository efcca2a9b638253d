#include "bench/scenario_files.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/config/option_table.hpp"

namespace migrate::bench {
namespace {

namespace fs = std::filesystem;

Result<Scenario> load_file(const fs::path& path) {
    std::ifstream file(path);
    std::ostringstream text;
    if (!fs::is_regular_file(path) || !file || !(text << file.rdbuf())) {
        return make_error(ErrorKind::kUsage, "cannot read the scenario {}", path.string());
    }
    return parse_scenario(text.str(), path.string());
}

}  // namespace

Result<fs::path> scenario_folder(const std::string& given) {
    std::error_code ignored;
    if (!given.empty()) {
        if (fs::is_directory(given, ignored)) return fs::path(given);
        return make_error(ErrorKind::kUsage, "--scenarios {}: there is no such folder", given);
    }
    const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
    for (fs::path at = program.parent_path(); !at.empty(); at = at.parent_path()) {
        for (const char* name : {"share/migrate/scenarios", "configs/scenarios"}) {
            if (fs::is_directory(at / name, ignored)) return at / name;
        }
        if (at == at.root_path()) break;
    }
    return make_error(ErrorKind::kUsage,
                      "no folder with scenarios near the program: --scenarios DIR names it");
}

Result<std::vector<Scenario>> load_all(const fs::path& folder) {
    std::vector<fs::path> paths;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
        if (entry.path().extension() == ".json") paths.push_back(entry.path());
    }
    if (failed) return make_error("cannot read {}: {}", folder.string(), failed.message());
    std::sort(paths.begin(), paths.end());
    std::vector<Scenario> scenarios;
    for (const fs::path& path : paths) {
        MIGRATE_ASSIGN(Scenario scenario, load_file(path));
        scenarios.push_back(std::move(scenario));
    }
    return scenarios;
}

Result<Scenario> load_scenario(const std::string& name, const std::string& folder) {
    if (name.find('/') != std::string::npos || name.ends_with(".json")) return load_file(name);
    MIGRATE_ASSIGN(const fs::path where, scenario_folder(folder));
    const fs::path path = where / (name + ".json");
    if (fs::exists(path)) return load_file(path);
    MIGRATE_ASSIGN(const std::vector<Scenario> all, load_all(where));
    std::vector<std::string_view> names;
    names.reserve(all.size());
    for (const Scenario& scenario : all) names.push_back(scenario.name);
    if (names.empty()) return make_error(ErrorKind::kUsage, "{} has no scenarios", where.string());
    return make_error(ErrorKind::kUsage, "unknown scenario '{}': did you mean '{}'?", name,
                      nearest_name(name, names));
}

}  // namespace migrate::bench
