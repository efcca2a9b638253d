// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/x509_files.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace migrate::transport {
namespace {

Error unusable(const std::string& path, std::string_view why) {
    return make_error(ErrorKind::kUsage, "{} {}", path, why);
}

BioPtr open_text(const SecretText& text) {
    return BioPtr(BIO_new_mem_buf(text.view().data(), static_cast<int>(text.view().size())));
}

// OpenSSL would ask at the terminal for the passphrase of a key.
int refuse_passphrase(char*, int, int, void*) { return -1; }

// The fault of a file: `why`, unless there was no memory. Empties the queue.
Error fault(const std::string& path, std::string_view why) {
    const bool out_of_memory = is_out_of_memory();
    forget_openssl_errors();
    return unusable(path, out_of_memory ? fmt::format("cannot be used: {}", kOutOfMemory) : why);
}

// An Error with `why` unless the queue has only the error that ends a file of PEM objects. Empties
// the queue.
Status check_end_of_file(const std::string& path, std::string_view why) {
    const unsigned long error = ERR_peek_last_error();
    if (is_out_of_memory() || ERR_GET_LIB(error) != ERR_LIB_PEM ||
        ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
        return fault(path, why);
    }
    forget_openssl_errors();
    return {};
}

Result<std::vector<X509Ptr>> read_certificates(const std::string& path, const SecretText& text) {
    const BioPtr bio = open_text(text);
    std::vector<X509Ptr> certificates;
    while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, refuse_passphrase, nullptr)) {
        certificates.emplace_back(one);
    }
    MIGRATE_TRY(check_end_of_file(path, "has a certificate that cannot be decoded"));
    if (certificates.empty()) return fault(path, "has no certificate in PEM form");
    return certificates;
}

Status load_authorities(const std::string& path, TlsContext& context) {
    MIGRATE_ASSIGN(const SecretText text,
                   read_credential_file(path, FileUse::kPublic, context.stamps));
    MIGRATE_ASSIGN(const auto certificates, read_certificates(path, text));
    X509_STORE* store = SSL_CTX_get_cert_store(context.ssl.get());
    for (const X509Ptr& one : certificates) {
        if (X509_STORE_add_cert(store, one.get()) != 1) {
            return unusable(path, fmt::format("cannot be used: {}", take_openssl_reason()));
        }
    }
    return {};
}

// With a list, every certificate of a chain is checked against the list of its issuer.
Status load_revoked(const std::string& path, TlsContext& context) {
    MIGRATE_ASSIGN(const SecretText text,
                   read_credential_file(path, FileUse::kOptional, context.stamps));
    if (text.empty()) return {};
    X509_STORE* store = SSL_CTX_get_cert_store(context.ssl.get());
    const BioPtr bio = open_text(text);
    int lists = 0;
    while (X509_CRL* one = PEM_read_bio_X509_CRL(bio.get(), nullptr, refuse_passphrase, nullptr)) {
        const X509CrlPtr list(one);
        if (X509_STORE_add_crl(store, one) != 1) {
            return unusable(path, fmt::format("cannot be used: {}", take_openssl_reason()));
        }
        ++lists;
    }
    MIGRATE_TRY(check_end_of_file(path, "has a list that cannot be decoded"));
    if (lists == 0) return fault(path, "has no list of revoked certificates in PEM form");
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return {};
}

void warn_of_validity(const std::string& path, X509* own, TlsRole role, TlsContext& context) {
    const auto warn = [&](std::string_view what) {
        if (is_out_of_memory()) return;  // load_tls_context() says so
        context.warnings.push_back(fmt::format("{}: this certificate {}", path, what));
    };
    if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0) warn("has expired");
    if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0) warn("is not valid yet");
    const int purpose =
        role == TlsRole::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
    if (X509_check_purpose(own, purpose, 0) != 1) {
        warn(role == TlsRole::kServer ? "is not meant for a server" : "is not meant for a client");
    }
}

Status load_own_certificate(const std::string& path, TlsRole role, TlsContext& context) {
    MIGRATE_ASSIGN(const SecretText text,
                   read_credential_file(path, FileUse::kPublic, context.stamps));
    MIGRATE_ASSIGN(const auto chain, read_certificates(path, text));
    bool usable = SSL_CTX_use_certificate(context.ssl.get(), chain.front().get()) == 1;
    for (std::size_t i = 1; usable && i < chain.size(); ++i) {
        usable = SSL_CTX_add1_chain_cert(context.ssl.get(), chain[i].get()) == 1;
    }
    if (!usable) return unusable(path, fmt::format("cannot be used: {}", take_openssl_reason()));
    warn_of_validity(path, chain.front().get(), role, context);
    return {};
}

Status load_own_key(const std::string& path, const std::string& certificate, TlsContext& context) {
    MIGRATE_ASSIGN(const SecretText text,
                   read_credential_file(path, FileUse::kSecret, context.stamps));
    const BioPtr bio = open_text(text);
    const EvpKeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse_passphrase, nullptr));
    if (!key) {
        const bool is_encrypted = text.view().find("ENCRYPTED") != std::string_view::npos;
        return fault(path, is_encrypted ? "is protected by a passphrase, which is not supported: "
                                          "store the key without one, readable by its owner only"
                                        : "has no private key in PEM form");
    }
    if (SSL_CTX_use_PrivateKey(context.ssl.get(), key.get()) != 1 ||
        SSL_CTX_check_private_key(context.ssl.get()) != 1) {
        return fault(path, fmt::format("is not the key of the certificate in {}", certificate));
    }
    return {};
}

}  // namespace

Status load_x509(const std::string& folder, TlsRole role, TlsContext& context) {
    const std::string own = role == TlsRole::kServer ? "/server-" : "/client-";
    const std::string certificate = folder + own + "cert.pem";
    MIGRATE_TRY(load_authorities(folder + "/ca-cert.pem", context));
    MIGRATE_TRY(load_revoked(folder + "/ca-crl.pem", context));
    MIGRATE_TRY(load_own_certificate(certificate, role, context));
    return load_own_key(folder + own + "key.pem", certificate, context);
}

}  // namespace migrate::transport
