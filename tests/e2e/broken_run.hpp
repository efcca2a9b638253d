// SPDX-License-Identifier: Apache-2.0
// A migration through a network that breaks its connections, and what has to hold of it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "e2e/tcp_proxy.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::e2e {

inline constexpr std::uint64_t kMiBytes = 1024 * 1024;

std::uint64_t any_of(std::mt19937& random, std::uint64_t first, std::uint64_t last);

// The ends of a migration whose connections broke, and what its sides reported.
struct Broken {
    nlohmann::json sent;
    nlohmann::json received;
    std::string output;
    unsigned cuts = 0;

    std::uint64_t outage(const char* key) const { return sent.at("outages").at(key); }
};

struct Attempt {
    std::string source;
    std::string sink;
    std::vector<std::string> send_options{};
    std::size_t most_connections = SIZE_MAX;
    std::optional<int> code = 0;            // of the sender; nothing: the test looks at it
    std::optional<int> receiver_code = {};  // nothing: the same
};

// Runs both sides, whose statistics are in `folder`.
Broken run_broken(const TemporaryFolder& folder, const Attempt& attempt,
                  const std::vector<Cut>& cuts);

// Checks a migration that lost channels by these cuts, and completed.
void check_repaired(const Broken& broken, const std::vector<Cut>& cuts);

// Cuts of any data channels, those that replace others included.
std::vector<Cut> random_cuts(std::mt19937& random, std::uint64_t channels, std::uint64_t most);
std::string describe_all(const std::vector<Cut>& cuts);

}  // namespace migrate::e2e
