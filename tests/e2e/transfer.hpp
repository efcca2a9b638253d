// SPDX-License-Identifier: Apache-2.0
// One transfer between two processes, and what has to hold of every one that succeeds.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "e2e/process.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::e2e {

struct Transfer {
    std::string source;
    std::string sink = "null:";
    std::vector<std::string> send_options{};
    std::vector<std::string> recv_options{};
    // The command that runs the sender: "scripts/with-softdsa", "--". Empty: none.
    std::vector<std::string> send_under{};
};

struct TransferStats {
    nlohmann::json sender;
    nlohmann::json receiver;

    // ram.NAME of the sender.
    std::uint64_t ram(const std::string& name) const;
};

// A downtime-limit that every machine keeps, however slow it is at the digest, for the tests of
// guests that are about something else.
inline constexpr const char* kAnyDowntime = "20s";

// "send --connect … --source …" and the options. A guest's sender that was given neither a
// downtime-limit nor a max-bandwidth gets kAnyDowntime.
std::vector<std::string> send_arguments(const Receiver& receiver, const std::string& source,
                                        const std::vector<std::string>& options = {});
std::vector<std::string> send_arguments(const std::string& endpoint, const std::string& source,
                                        const std::vector<std::string>& options);

// Runs it, requires success on both sides and the accounting to add up on both; `folder` takes the
// statistics.
TransferStats run_transfer(const TemporaryFolder& folder, const Transfer& transfer);

// A file's statistics.
nlohmann::json read_stats(const std::string& path);

// The identities every completed transfer has to hold, within a side and between the two.
void check_accounting(const TransferStats& stats);

}  // namespace migrate::e2e
