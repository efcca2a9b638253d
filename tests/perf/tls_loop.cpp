// SPDX-License-Identifier: Apache-2.0
// A bare loop of SSL_write() and SSL_read() between two processes on the loopback, for comparison
// with a migration: TLS 1.3, AES-128-GCM, one connection and one thread for each channel, records
// of 16 KiB. Prints one line of JSON: the time, and the CPU time of either process.
//
// Usage: tls_loop BYTES CHANNELS [RECORD-BYTES]
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
    std::perror(what);
    ERR_print_errors_fp(stderr);
    std::exit(1);
}

struct Freed {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(X509* certificate) const { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Freed>;

Owned<SSL_CTX> make_context(const SSL_METHOD* method) {
    Owned<SSL_CTX> context(SSL_CTX_new(method));
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256") != 1) {
        fail("TLS context");
    }
    return context;
}

// A certificate that signs itself; the loop authenticates nobody.
void add_certificate(SSL_CTX* context) {
    const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
    const Owned<X509> certificate(X509_new());
    if (!key || !certificate) fail("certificate");
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    X509_set_pubkey(certificate.get(), key.get());
    if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0 ||
        SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
        fail("certificate");
    }
}

void send_all(int fd, std::span<const unsigned char> bytes, std::size_t record) {
    const Owned<SSL_CTX> context = make_context(TLS_client_method());
    const Owned<SSL> ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), fd);
    if (SSL_connect(ssl.get()) != 1) fail("SSL_connect");
    while (!bytes.empty()) {
        const std::size_t size = std::min(record, bytes.size());
        std::size_t written = 0;
        if (SSL_write_ex(ssl.get(), bytes.data(), size, &written) != 1) fail("SSL_write");
        bytes = bytes.subspan(written);
    }
    SSL_shutdown(ssl.get());
}

void receive_all(int fd, SSL_CTX* context, std::size_t record) {
    const Owned<SSL> ssl(SSL_new(context));
    SSL_set_fd(ssl.get(), fd);
    if (SSL_accept(ssl.get()) != 1) fail("SSL_accept");
    std::vector<unsigned char> buffer(record);
    std::size_t count = 0;
    while (SSL_read_ex(ssl.get(), buffer.data(), buffer.size(), &count) == 1) {
    }
    if (SSL_get_error(ssl.get(), 0) != SSL_ERROR_ZERO_RETURN) fail("SSL_read");
}

double cpu_ms(int who) {
    rusage use{};
    ::getrusage(who, &use);
    const auto ms = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
    };
    return ms(use.ru_utime) + ms(use.ru_stime);
}

void run_receiver(int listener, unsigned channels, std::size_t record) {
    const Owned<SSL_CTX> context = make_context(TLS_server_method());
    add_certificate(context.get());
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < channels; ++i) {
        const int fd = ::accept(listener, nullptr, nullptr);
        if (fd < 0) fail("accept");
        threads.emplace_back([&context, fd, record] { receive_all(fd, context.get(), record); });
    }
    for (std::thread& thread : threads) thread.join();
}

void run_sender(const sockaddr_in& address, std::span<const unsigned char> memory,
                unsigned channels, std::size_t record) {
    std::vector<std::thread> threads;
    const std::size_t share = memory.size() / channels;
    for (unsigned i = 0; i < channels; ++i) {
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            fail("connect");
        threads.emplace_back([=] { send_all(fd, memory.subspan(i * share, share), record); });
    }
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: tls_loop BYTES CHANNELS [RECORD-BYTES]\n");
        return 2;
    }
    const std::size_t size = std::stoul(argv[1]);
    const auto channels = static_cast<unsigned>(std::stoul(argv[2]));
    const std::size_t record = argc > 3 ? std::stoul(argv[3]) : std::size_t{16} * 1024;
    void* const mapped =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) fail("mmap");
    std::mt19937_64 random(1);
    for (std::uint64_t& word : std::span(static_cast<std::uint64_t*>(mapped), size / 8))
        word = random();
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(listener, static_cast<int>(channels)) != 0 ||
        ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        fail("listen");
    }
    const pid_t receiver = ::fork();
    if (receiver == 0) {
        run_receiver(listener, channels, record);
        ::_exit(0);
    }
    const double cpu_before = cpu_ms(RUSAGE_SELF);
    const auto begin = Clock::now();
    run_sender(address, {static_cast<const unsigned char*>(mapped), size}, channels, record);
    int status = 0;
    ::waitpid(receiver, &status, 0);
    if (status != 0) return 1;
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    std::printf("{\"ms\": %.1f, \"sender-cpu-ms\": %.1f, \"receiver-cpu-ms\": %.1f}\n", ms,
                cpu_ms(RUSAGE_SELF) - cpu_before, cpu_ms(RUSAGE_CHILDREN));
    return 0;
}
