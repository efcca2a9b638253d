// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_peer.hpp"

#include <fnmatch.h>
#include <openssl/x509v3.h>

#include <algorithm>

namespace migrate::transport {
namespace {

using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES_free>>;

bool is_printable(std::string_view text) {
    return std::none_of(text.begin(), text.end(), [](char letter) {
        return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F;
    });
}

// RFC 4514: the most specific part comes first.
std::string distinguished_name(X509_NAME* name) {
    const BioPtr out(BIO_new(BIO_s_mem()));
    constexpr unsigned long kFlags = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;
    if (!out || X509_NAME_print_ex(out.get(), name, 0, kFlags) < 0) return "";
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    std::string text(data, static_cast<std::size_t>(std::max(size, 0L)));
    return is_printable(text) ? text : "";
}

void add_name(const GENERAL_NAME& name, PeerNames& names) {
    if (name.type != GEN_DNS && name.type != GEN_URI) return;
    const ASN1_IA5STRING* value =
        name.type == GEN_DNS ? name.d.dNSName : name.d.uniformResourceIdentifier;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                     static_cast<std::size_t>(ASN1_STRING_length(value)));
    if (text.empty() || !is_printable(text)) return;
    (name.type == GEN_DNS ? names.dns : names.uris).push_back(std::move(text));
}

bool matches(const std::string& pattern, const std::string& name, int flags) {
    return !name.empty() && ::fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE | flags) == 0;
}

}  // namespace

std::string subject_of(X509* certificate) {
    const std::string subject = distinguished_name(X509_get_subject_name(certificate));
    return subject.empty() ? "?" : subject;
}

PeerNames names_of(X509* certificate) {
    PeerNames names{.subject = distinguished_name(X509_get_subject_name(certificate))};
    const NamesPtr alternatives(static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
        add_name(*sk_GENERAL_NAME_value(alternatives.get(), i), names);
    }
    return names;
}

bool is_allowed(const PeerNames& names, std::span<const std::string> patterns) {
    const auto any = [](const std::vector<std::string>& list, const std::string& pattern,
                        int flags) {
        return std::any_of(list.begin(), list.end(),
                           [&](const std::string& name) { return matches(pattern, name, flags); });
    };
    return patterns.empty() ||
           std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
               return matches(pattern, names.subject, 0) || any(names.dns, pattern, FNM_CASEFOLD) ||
                      any(names.uris, pattern, 0);
           });
}

}  // namespace migrate::transport
