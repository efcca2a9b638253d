// SPDX-License-Identifier: Apache-2.0
// `migrate probe`: shows what this host can do for a migration, and the reason for what it cannot
// do.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace migrate::cli {

struct ProbedItem {
    std::string name;  // the value of the option that selects it
    bool usable = false;
    std::string detail;  // what it does, or what is missing
};

struct ProbedGroup {
    std::string key;                // key in JSON
    std::string title;              // title in text
    std::vector<ProbedItem> items;  // for trackers and kernels "auto" takes the first usable one
};

// Tries everything on scratch memory; takes milliseconds (a second if a DSA device hangs) and
// changes nothing.
std::vector<ProbedGroup> probe_host();

std::string probe_text(std::span<const ProbedGroup> groups);
// Returns {"dirty-trackers": [{"name": …, "usable": …, "detail": …}, …], …}.
std::string probe_json(std::span<const ProbedGroup> groups);

}  // namespace migrate::cli
