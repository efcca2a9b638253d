// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_pki.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>

namespace migrate {
namespace {

// A test that cannot make its certificates cannot go on.
void require(bool condition) {
    if (!condition) std::abort();
}

struct FreeFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, FreeFile>;

FilePtr create(const std::string& path) {
    FilePtr file(std::fopen(path.c_str(), "w"));
    require(file != nullptr);
    require(::chmod(path.c_str(), 0600) == 0);
    return file;
}

void set_subject(X509* certificate, const std::string& subject) {
    X509_NAME* name = X509_get_subject_name(certificate);
    require(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>("Test"), -1, -1,
                                       0) == 1);
    require(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>(subject.c_str()), -1,
                                       -1, 0) == 1);
}

void set_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    require(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeCertificate {
    void operator()(X509* certificate) const { X509_free(certificate); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeKey>;
using CertificatePtr = std::unique_ptr<X509, FreeCertificate>;

KeyPtr make_key() {
    KeyPtr key(EVP_EC_gen("P-256"));
    require(key != nullptr);
    return key;
}

CertificatePtr make_certificate(EVP_PKEY* key, std::chrono::hours from, std::chrono::hours until) {
    static long serial = 0;
    CertificatePtr certificate(X509_new());
    require(certificate && X509_set_version(certificate.get(), 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), std::chrono::seconds(from).count());
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), std::chrono::seconds(until).count());
    require(X509_set_pubkey(certificate.get(), key) == 1);
    return certificate;
}

void write_certificate(const std::string& path, X509* certificate) {
    require(PEM_write_X509(create(path).get(), certificate) == 1);
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
    return text;
}

}  // namespace

struct TestPki::Impl {
    KeyPtr key = make_key();
    CertificatePtr certificate =
        make_certificate(key.get(), std::chrono::hours(-48), std::chrono::hours(48));
};

TestPki::TestPki(const std::string& name) : impl_(std::make_unique<Impl>()) {
    X509* own = impl_->certificate.get();
    set_subject(own, name);
    require(X509_set_issuer_name(own, X509_get_subject_name(own)) == 1);
    set_extension(own, own, NID_basic_constraints, "critical,CA:TRUE");
    set_extension(own, own, NID_key_usage, "critical,keyCertSign,cRLSign");
    set_extension(own, own, NID_subject_key_identifier, "hash");
    require(X509_sign(own, impl_->key.get(), EVP_sha256()) != 0);
}

TestPki::~TestPki() = default;

void TestPki::write_ca(const std::string& folder) const {
    write_certificate(folder + "/ca-cert.pem", impl_->certificate.get());
}

void TestPki::issue(const std::string& folder, const std::string& role,
                    const TestCertificate& what) const {
    X509* issuer = impl_->certificate.get();
    const KeyPtr key = make_key();
    const CertificatePtr own = make_certificate(key.get(), what.valid_from, what.valid_until);
    set_subject(own.get(), what.subject);
    require(X509_set_issuer_name(own.get(), X509_get_subject_name(issuer)) == 1);
    set_extension(own.get(), issuer, NID_basic_constraints, "CA:FALSE");
    set_extension(own.get(), issuer, NID_authority_key_identifier, "keyid");
    if (!what.names.empty()) {
        set_extension(own.get(), issuer, NID_subject_alt_name, joined(what.names));
    }
    using Purpose = TestCertificate::Purpose;
    if (what.purpose != Purpose::kAny) {
        set_extension(own.get(), issuer, NID_ext_key_usage,
                      what.purpose == Purpose::kServer ? "serverAuth" : "clientAuth");
    }
    require(X509_sign(own.get(), impl_->key.get(), EVP_sha256()) != 0);
    const std::string start = folder + "/" + role;
    write_certificate(start + "-cert.pem", own.get());
    require(PEM_write_PrivateKey(create(start + "-key.pem").get(), key.get(), nullptr, nullptr, 0,
                                 nullptr, nullptr) == 1);
}

void TestPki::revoke(const std::string& folder,
                     const std::vector<std::string>& certificates) const {
    X509_CRL* list = X509_CRL_new();
    require(list != nullptr && X509_CRL_set_version(list, 1) == 1);
    require(X509_CRL_set_issuer_name(list, X509_get_subject_name(impl_->certificate.get())) == 1);
    ASN1_TIME* time = ASN1_TIME_new();
    X509_gmtime_adj(time, -3600);
    X509_CRL_set1_lastUpdate(list, time);
    for (const std::string& path : certificates) {
        const FilePtr file(std::fopen(path.c_str(), "r"));
        require(file != nullptr);
        const CertificatePtr one(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
        require(one != nullptr);
        X509_REVOKED* revoked = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(one.get()));
        X509_REVOKED_set_revocationDate(revoked, time);
        require(X509_CRL_add0_revoked(list, revoked) == 1);
    }
    X509_gmtime_adj(time, 3600);
    X509_CRL_set1_nextUpdate(list, time);
    ASN1_TIME_free(time);
    require(X509_CRL_sign(list, impl_->key.get(), EVP_sha256()) != 0);
    require(PEM_write_X509_CRL(create(folder + "/ca-crl.pem").get(), list) == 1);
    X509_CRL_free(list);
}

void TestPki::write_host(const std::string& folder, const std::string& subject) const {
    write_ca(folder);
    issue(folder, "server",
          {.subject = subject,
           .names = {"DNS:localhost", "IP:127.0.0.1"},
           .purpose = TestCertificate::Purpose::kServer});
    issue(folder, "client",
          {.subject = subject, .names = {}, .purpose = TestCertificate::Purpose::kClient});
}

std::string write_test_psk(const TemporaryFolder& folder, const std::string& identity, char digit) {
    std::string path = folder / "keys.psk";
    write_file(path, identity + ":" + std::string(64, digit) + "\n");
    require(::chmod(path.c_str(), 0600) == 0);
    return path;
}

}  // namespace migrate
