#include "accel/accel_path.hpp"

#include <algorithm>
#include <set>

namespace migrate::accel {

namespace {

constexpr std::string_view kDevicePrefix = "dsa:";
constexpr std::string_view kSoftwarePrefix = "softdsa:";

Result<AccelPath> parse_word(std::string_view word) {
    if (word.starts_with(kSoftwarePrefix)) {
        return AccelPath{AccelPath::Kind::kSoftware,
                         std::string(word.substr(kSoftwarePrefix.size()))};
    }
    if (!word.starts_with(kDevicePrefix)) {
        return make_error(ErrorKind::kUsage,
                          "option accel-path: '{}' says no kind of device: write dsa:{} (or "
                          "softdsa:N for a software device)",
                          word, word.starts_with('/') ? word : "/dev/dsa/wq0.0");
    }
    const std::string_view path = word.substr(kDevicePrefix.size());
    if (!path.starts_with('/')) {
        return make_error(ErrorKind::kUsage,
                          "option accel-path: '{}' is no absolute path: write dsa:/dev/dsa/wq0.0",
                          word);
    }
    return AccelPath{AccelPath::Kind::kDevice, std::string(path)};
}

}  // namespace

Result<std::vector<AccelPath>> parse_accel_path(std::string_view text) {
    std::vector<AccelPath> paths;
    std::set<std::string_view> seen;
    while (true) {
        text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
        if (text.empty()) return paths;
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(word.size());
        MIGRATE_ASSIGN(AccelPath path, parse_word(word));
        if (!seen.insert(word).second) {
            return make_error(ErrorKind::kUsage, "option accel-path: '{}' is there twice", word);
        }
        paths.push_back(std::move(path));
    }
}

}  // namespace migrate::accel
