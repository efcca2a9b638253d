// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/openssl.hpp"

#include <openssl/crypto.h>

#include <cstdlib>

namespace migrate::transport {
namespace {

// OpenSSL does not queue an error for each allocation that fails, and the one that it queues may be
// behind others that follow from it.
thread_local bool allocation_failed = false;

void* note_if_null(void* memory) {
    if (memory == nullptr) note_failed_allocation();
    return memory;
}

// OpenSSL expects a null pointer for nothing, which is no failure.
void* allocate(std::size_t size, const char*, int) {
    return size == 0 ? nullptr : note_if_null(std::malloc(size));
}

void release(void* memory, const char*, int) { std::free(memory); }

void* reallocate(void* memory, std::size_t size, const char*, int) {
    if (size != 0) return note_if_null(std::realloc(memory, size));
    std::free(memory);
    return nullptr;
}

bool is_malloc_failure(unsigned long error) {
    return ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
}

}  // namespace

void forget_openssl_errors() {
    // Refused if OpenSSL has allocated before, in a program that uses it for something else: its
    // queue of errors must do then.
    static const bool watches = CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;
    static_cast<void>(watches);
    ERR_clear_error();
    allocation_failed = false;
}

bool is_out_of_memory() {
    return allocation_failed || is_malloc_failure(ERR_peek_error()) ||
           is_malloc_failure(ERR_peek_last_error());
}

void note_failed_allocation() { allocation_failed = true; }

std::string take_openssl_reason() {
    const unsigned long error = ERR_peek_error();
    const char* reason = ERR_reason_error_string(error);
    std::string text = is_out_of_memory()  ? std::string(kOutOfMemory)
                       : reason != nullptr ? reason
                       : error == 0        ? "no reason given"
                                           : "unknown";
    forget_openssl_errors();
    return text;
}

}  // namespace migrate::transport
