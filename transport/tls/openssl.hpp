// SPDX-License-Identifier: Apache-2.0
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
#include <string_view>

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

inline constexpr std::string_view kOutOfMemory =
    "out of memory (check the limits ulimit -v and ulimit -d)";

// Forgets the errors of this thread. Call it before the calls of OpenSSL whose failure is reported.
void forget_openssl_errors();
// Returns the reason of this thread's oldest error ("key values mismatch"), or kOutOfMemory, and
// forgets them all.
std::string take_openssl_reason();
// True if OpenSSL got no memory in this thread since it forgot its errors. OpenSSL may then report
// another reason, such as "internal error" or a certificate whose key is too weak.
bool is_out_of_memory();

// Allocation functions of OpenSSL must call this before they return a null pointer. Those of this
// folder do. OpenSSL gets them with the first forget_openssl_errors(), unless it has allocated
// memory by its own functions before.
void note_failed_allocation();

}  // namespace migrate::transport
