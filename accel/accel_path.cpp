// SPDX-License-Identifier: Apache-2.0
#include "accel/accel_path.hpp"

#include <set>

#include "base/config/option_lookup.hpp"

namespace migrate::accel {

Result<std::vector<AccelPath>> parse_accel_path(std::string_view text) {
    MIGRATE_ASSIGN(const std::vector<ParsedForm> all, parse_forms_of<"accel-path">(text));
    std::vector<AccelPath> paths;
    std::set<std::string> seen;
    for (const ParsedForm& parsed : all) {
        const std::string word = fmt::format("{}:{}", parsed.form->name, parsed.rest);
        if (!seen.insert(word).second) {
            return make_error(ErrorKind::kUsage, "option accel-path: '{}' is given twice", word);
        }
        const bool software = parsed.is("softdsa");
        if (!software && !parsed.rest.starts_with('/')) {
            return make_error(ErrorKind::kUsage,
                              "option accel-path: '{}': PATH must be absolute: dsa:/dev/dsa/wq0.0",
                              word);
        }
        paths.push_back(
            {software ? AccelPath::Kind::kSoftware : AccelPath::Kind::kDevice, parsed.rest});
    }
    return paths;
}

}  // namespace migrate::accel
