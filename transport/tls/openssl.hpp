// OpenSSL's objects with owners, and its queue of errors as text. Included by the files of this
// folder only.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace migrate::transport {

// Deletes by a C function.
template <auto kFree>
struct FreeBy {
    template <typename T>
    void operator()(T* object) const {
        kFree(object);
    }
};

using SslContextPtr = std::unique_ptr<SSL_CTX, FreeBy<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, FreeBy<SSL_free>>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, FreeBy<SSL_SESSION_free>>;
using X509Ptr = std::unique_ptr<X509, FreeBy<X509_free>>;
using X509CrlPtr = std::unique_ptr<X509_CRL, FreeBy<X509_CRL_free>>;
using EvpKeyPtr = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;

// Returns the reason of this thread's oldest error ("key values mismatch") and forgets them all.
std::string take_openssl_reason();

}  // namespace migrate::transport
