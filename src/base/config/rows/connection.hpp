// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for the connection.
#pragma once

#include <array>
#include <cstdint>

#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"

namespace migrate {

inline constexpr std::uint64_t kShortestTimeoutMs = 100;
inline constexpr std::uint64_t kLongestTimeoutMs = 86'400'000;  // a day

namespace option_rows {

inline constexpr auto kConnectionRows = in_section(
    OptionSection::kConnection,
    std::to_array<Option>({
        {.key = "connect",
         .type = OptionType::kHostPorts,
         .side = OptionSide::kSend,
         .min = 1,
         .max = 65535,
         .help = "The address where 'migrate recv' listens. An IPv6 address goes in brackets: "
                 "[::1]:4444. Several times: several network paths, as with path.",
         .required = true,
         .instead = "path",
         .repeats = true},
        {.key = "path",
         .type = OptionType::kForms,
         .side = OptionSide::kSend,
         .forms = &kPaths,
         .value_name = "WORDS",
         .help = "A network path to the receiver, in addition to those of connect; may occur "
                 "several times. The channels of all paths share the work, so each path carries "
                 "what it can. The main channel goes by the first path that answers.",
         .repeats = true},
        {.key = "listen",
         .type = OptionType::kHostPorts,
         .side = OptionSide::kRecv,
         .min = 0,
         .max = 65535,
         .word = "systemd",
         .help =
             "The address on which to wait for the sender; may occur several times. With port 0 "
             "the kernel chooses a port, the same for all addresses, and 'migrate recv' prints it. "
             "systemd: use the socket that the service manager passed (socket activation).",
         .required = true,
         .repeats = true},
        {.key = "listen-mptcp",
         .type = OptionType::kOnOff,
         .side = OptionSide::kRecv,
         .default_text = "off",
         .help = "Accept MPTCP connections, too, for senders whose path has mptcp=on."},
        {.key = "port-file",
         .side = OptionSide::kRecv,
         .value_name = "FILE",
         .help = "Write the port to this file once the receiver accepts connections.",
         .everyday = true},
        {.key = "connect-timeout",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "10s",
         .min = kShortestTimeoutMs,
         .max = kLongestTimeoutMs,
         .help = "Give up connecting to the receiver after this time. A receiver that does not "
                 "listen yet is waited for."},
        {.key = "listen-timeout",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kRecv,
         .default_text = "0",
         .max = kLongestTimeoutMs,
         .help = "Give up waiting for a sender after this time; 0 waits forever."},
        {.key = "handshake-timeout",
         .type = OptionType::kDurationMs,
         .default_text = "10s",
         .min = kShortestTimeoutMs,
         .max = kLongestTimeoutMs,
         .help =
             "Fail if the peer is silent for this time before the session begins. A receiver that "
             "prepares its memory is not silent."},
        {.key = "io-timeout",
         .type = OptionType::kDurationMs,
         .default_text = "30s",
         .min = kShortestTimeoutMs,
         .max = kLongestTimeoutMs,
         .help = "Fail if the peer is silent for this long. The two sides may differ; heartbeats "
                 "follow the smaller value."},
        {.key = "reconnect-timeout",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "60s",
         .max = kLongestTimeoutMs,
         .help =
             "Replace a connection that is lost, and send again what did not arrive on it. Fail "
             "if there is no main channel or no data channel for this long; the receiver waits "
             "io-timeout longer. 0: a lost connection ends the migration. So does one that is "
             "lost before the first round, with an image's --devices, with a guest's that is a "
             "stream while the guest is paused, or with zero-page-detection=legacy."},
    }));

}  // namespace option_rows

}  // namespace migrate
