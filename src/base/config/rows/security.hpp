// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for encryption, authentication and the receiver's sandbox.
#pragma once

#include <array>

#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"

namespace migrate {

namespace option_rows {

inline constexpr auto kSecurityRows = in_section(
    OptionSection::kSecurity,
    std::to_array<Option>({
        {.key = "tls-creds",
         .type = OptionType::kForm,
         .forms = &kTlsCreds,
         .value_name = "CREDS",
         .help = "Encrypt and authenticate all channels with TLS 1.3; both sides need the option. "
                 "Without it, the channels are plaintext and stay on this host (loopback); none "
                 "allows plaintext to other hosts.",
         .everyday = true},
        {.key = "tls-hostname",
         .value_name = "NAME",
         .help =
             "With x509: the host name or address that the receiver's certificate must have. "
             "Without it: the host of --connect. With --repeat it is also the receiver's option, "
             "for the way back."},
        {.key = "tls-authz",
         .type = OptionType::kWords,
         .value_name = "PATTERNS",
         .help =
             "Accept only a peer one of whose names matches a pattern: the subject of its "
             "certificate (CN=…,O=…), its DNS names and URIs, or its PSK identity. Patterns are "
             "separated by blanks, in JSON also a list; * stands for any text, and ? for any "
             "character, a blank too.",
         .everyday = true},
        {.key = "sandbox",
         .type = OptionType::kOnOff,
         .side = OptionSide::kRecv,
         .default_text = "on",
         .help = "Confine the receiver once it is set up: no programs, no files but its own, no "
                 "connections but its own. The kernel enforces it (seccomp, and Landlock if it is "
                 "there)."},
    }));

}  // namespace option_rows

}  // namespace migrate
