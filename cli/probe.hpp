// `migrate probe`: what this host can do for a migration, and why not where it cannot.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace migrate::cli {

struct ProbedItem {
    std::string name;  // as the option has it that chooses it
    bool usable = false;
    std::string detail;  // what it does, or what is missing
};

struct ProbedGroup {
    std::string key;    // in JSON
    std::string title;  // in text
    std::vector<ProbedItem>
        items;  // of trackers and kernels "auto" takes the first that can be used
};

// Tries everything on memory of its own; takes milliseconds (a DSA device that hangs, a second) and
// changes nothing.
std::vector<ProbedGroup> probe_host();

std::string probe_text(std::span<const ProbedGroup> groups);
// {"dirty-trackers": [{"name": …, "usable": …, "detail": …}, …], …}
std::string probe_json(std::span<const ProbedGroup> groups);

}  // namespace migrate::cli
