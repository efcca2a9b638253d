// SPDX-License-Identifier: Apache-2.0
// Two sides of a TLS connection in one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/tcp_pair.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/test_pki.hpp"
#include "transport/tls/tls_endpoint.hpp"
#include "transport/tls/tls_stream.hpp"

namespace migrate::transport {

inline std::shared_ptr<TlsEndpoint> x509_endpoint(const std::string& folder,
                                                  std::vector<std::string> allowed = {},
                                                  std::string hostname = {}) {
    return TlsEndpoint::create({.kind = TlsSpec::Kind::kX509,
                                .path = folder,
                                .hostname = std::move(hostname),
                                .allowed = std::move(allowed)},
                               std::nullopt);
}

inline std::shared_ptr<TlsEndpoint> psk_endpoint(const std::string& file, std::string identity = {},
                                                 std::vector<std::string> allowed = {}) {
    return TlsEndpoint::create({.kind = TlsSpec::Kind::kPsk,
                                .path = file,
                                .identity = std::move(identity),
                                .allowed = std::move(allowed)},
                               std::nullopt);
}

// One host's folder with certificates of a CA.
struct TestHost {
    explicit TestHost(const TestPki& pki, const std::string& subject = "host") {
        pki.write_host(folder.path(), subject);
    }
    TemporaryFolder folder;
};

enum class ConnectionKind { kMain, kData };

// The handshake of both sides, as far as it goes.
struct HandshakePair {
    TcpPair fds = make_tcp_pair();
    std::unique_ptr<TlsHandshake> client;
    std::unique_ptr<TlsHandshake> server;
    Status client_status;
    Status server_status;

    HandshakePair(TlsEndpoint& sender, TlsEndpoint& receiver,
                  ConnectionKind kind = ConnectionKind::kMain,
                  const std::string& host = "127.0.0.1") {
        auto started = start(sender, kind, host);
        if (started) {
            client = *std::move(started);
        } else {
            client_status = started.error();
        }
        auto context = receiver.context(TlsRole::kServer, {});
        auto answered = context ? receiver.begin_server(fds.far.get(), *context)
                                : Result<std::unique_ptr<TlsHandshake>>(context.error());
        if (answered) {
            server = *std::move(answered);
        } else {
            server_status = answered.error();
        }
        run();
    }

    bool succeeded() const { return client_status && server_status; }

    SocketPair sockets(std::chrono::milliseconds limit = std::chrono::seconds(30)) {
        SocketPair pair{adopt(std::move(fds.near), limit), adopt(std::move(fds.far), limit)};
        const SecurityInfo at_client = client->info();
        const SecurityInfo at_server = server->info();
        pair.near.encrypt(client->take_stream(), at_client);
        pair.far.encrypt(server->take_stream(), at_server);
        return pair;
    }

  private:
    Result<std::unique_ptr<TlsHandshake>> start(TlsEndpoint& sender, ConnectionKind kind,
                                                const std::string& host) {
        MIGRATE_ASSIGN(auto context, sender.context(TlsRole::kClient, {}));
        return kind == ConnectionKind::kMain ? sender.begin_main(fds.near.get(), context, host)
                                             : sender.begin_data(fds.near.get(), context);
    }

    // Both sides in turn, until neither goes on.
    void run() {
        bool client_goes_on = client != nullptr;
        bool server_goes_on = server != nullptr;
        // An endpoint without a handshake closes its end.
        if (!client_goes_on) fds.near.reset();
        if (!server_goes_on) fds.far.reset();
        const auto advance = [](TlsHandshake& one, bool& goes_on, Status& status) {
            const auto step = one.advance();
            if (!step) status = step.error();
            goes_on = step && *step != TlsHandshake::Step::kDone;
        };
        for (int turn = 0; turn < 50 && (client_goes_on || server_goes_on); ++turn) {
            if (client_goes_on) advance(*client, client_goes_on, client_status);
            if (server_goes_on) advance(*server, server_goes_on, server_status);
            if (!client_status && !server_goes_on) break;
        }
    }
};

}  // namespace migrate::transport
