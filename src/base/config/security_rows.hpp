// The rows of the option table for encryption and authentication; option_table.hpp lists them.
#pragma once

#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"

namespace migrate {

inline constexpr Option kTlsCredsRow{
    .key = "tls-creds",
    .type = OptionType::kForm,
    .section = OptionSection::kSecurity,
    .forms = &kTlsCreds,
    .value_name = "CREDS",
    .help =
        "Encrypt and authenticate all channels with TLS 1.3; both sides need the option. "
        "Without it, the channels are plaintext and stay on this host (loopback); none "
        "allows plaintext to other hosts."};

inline constexpr Option kTlsHostnameRow{
    .key = "tls-hostname",
    .section = OptionSection::kSecurity,
    .value_name = "NAME",
    .help =
        "With x509: the host name or address that the receiver's certificate must have. "
        "Without it: the host of --connect. With --repeat it is also the receiver's option, "
        "for the way back."};

inline constexpr Option kTlsAuthzRow{
    .key = "tls-authz",
    .type = OptionType::kWords,
    .section = OptionSection::kSecurity,
    .value_name = "PATTERNS",
    .help =
        "Accept only a peer one of whose names matches a pattern: the subject of its "
        "certificate (CN=…,O=…), its DNS names and URIs, or its PSK identity. Patterns are "
        "separated by blanks, in JSON also a list; * stands for any text, and ? for any "
        "character, a blank too."};

}  // namespace migrate
