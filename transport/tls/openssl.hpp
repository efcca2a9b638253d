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
// True if this thread's oldest error is that there was no memory. OpenSSL may then report another
// reason, such as a certificate whose key is too weak.
inline bool is_out_of_memory() { return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE; }

}  // namespace migrate::transport
