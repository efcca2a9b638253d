// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_connection.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace migrate::transport {
namespace {

TlsConnection& connection_of(BIO* bio) { return *static_cast<TlsConnection*>(BIO_get_data(bio)); }

// Finishes a call of BIO: `moved` is the result of a system call.
int finish(BIO* bio, ssize_t moved, int retry, std::size_t* done) {
    TlsConnection& connection = connection_of(bio);
    BIO_clear_retry_flags(bio);
    if (moved >= 0) {
        *done = static_cast<std::size_t>(moved);
        return moved > 0 ? 1 : 0;
    }
    *done = 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    } else {
        connection.error = errno;
    }
    return 0;
}

int write_bio(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
    const TlsConnection& connection = connection_of(bio);
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (connection.more_follows ? MSG_MORE : 0);
    ssize_t moved = -1;
    do {
        moved = ::send(connection.fd, data, size, flags);
    } while (moved < 0 && errno == EINTR);
    return finish(bio, moved, BIO_FLAGS_WRITE, written);
}

int read_bio(BIO* bio, char* data, std::size_t size, std::size_t* read) {
    TlsConnection& connection = connection_of(bio);
    ssize_t moved = -1;
    do {
        moved = ::recv(connection.fd, data, size, MSG_DONTWAIT);
    } while (moved < 0 && errno == EINTR);
    connection.is_starved = moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (moved == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return finish(bio, moved, BIO_FLAGS_READ, read);
}

long control_bio(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    return 0;
}

using BioMethodPtr = std::unique_ptr<BIO_METHOD, FreeBy<BIO_meth_free>>;

BioMethodPtr make_method() {
    BioMethodPtr method(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "migrate socket"));
    if (!method || BIO_meth_set_write_ex(method.get(), write_bio) != 1 ||
        BIO_meth_set_read_ex(method.get(), read_bio) != 1 ||
        BIO_meth_set_ctrl(method.get(), control_bio) != 1) {
        method.reset();
    }
    return method;
}

}  // namespace

Result<std::unique_ptr<TlsConnection>> make_tls_connection(int fd, SSL_CTX* context) {
    static const BioMethodPtr method = make_method();
    auto connection = std::make_unique<TlsConnection>();
    connection->fd = fd;
    BIO* bio = method ? BIO_new(method.get()) : nullptr;
    if (bio == nullptr) return make_error("cannot set up TLS: {}", take_openssl_reason());
    BIO_set_data(bio, connection.get());
    BIO_set_init(bio, 1);
    connection->ssl.reset(SSL_new(context));
    if (!connection->ssl) {
        BIO_free(bio);
        return make_error("cannot set up TLS: {}", take_openssl_reason());
    }
    SSL_set_bio(connection->ssl.get(), bio, bio);
    return connection;
}

}  // namespace migrate::transport
