// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_setup.hpp"

#include <algorithm>

namespace migrate::transport {
namespace {

using HandshakePtr = std::unique_ptr<TlsHandshake>;
using std::chrono::milliseconds;

CallLimits call_limits(const SetupLimits& limits) {
    const auto left = std::chrono::ceil<milliseconds>(limits.until - WaitClock::now());
    return {std::max(left, milliseconds(1)), limits.stop};
}

// Takes each handshake as far as it goes without waiting; `polled` gets what it waits for. Returns
// the number of those that are not done.
Result<std::size_t> advance_all(std::span<const HandshakePtr> handshakes,
                                std::span<pollfd> polled) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < handshakes.size(); ++i) {
        if (polled[i].fd < 0) continue;
        // Each is looked at once in the beginning, and then whenever its descriptor is ready.
        if (polled[i].events != 0 && polled[i].revents == 0) {
            ++left;
            continue;
        }
        MIGRATE_ASSIGN(const TlsHandshake::Step step, handshakes[i]->advance());
        if (step == TlsHandshake::Step::kDone) {
            polled[i].fd = -1;
            continue;
        }
        polled[i].events = step == TlsHandshake::Step::kNeedsInput ? POLLIN : POLLOUT;
        ++left;
    }
    return left;
}

Status complete(std::span<const HandshakePtr> handshakes, std::span<Socket> sockets,
                const SetupLimits& limits) {
    MIGRATE_ASSIGN(const Wakeup wakeup, Wakeup::create());
    const std::stop_callback on_stop(limits.stop, [&wakeup] { wakeup.wake(); });
    std::vector<pollfd> polled;
    for (const Socket& socket : sockets) polled.push_back({SocketDescriptor::of(socket), 0, 0});
    polled.push_back({wakeup.fd(), POLLIN, 0});
    while (true) {
        MIGRATE_ASSIGN(const std::size_t left,
                       advance_all(handshakes, std::span(polled).first(sockets.size())));
        if (left == 0) break;
        const int ready = wait_for_any(polled, limits.until);
        if (limits.stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        if (ready < 0) return Error::system("wait for the TLS handshake", errno);
        if (ready == 0) return Error(ErrorKind::kTimeout, "the TLS handshake was not completed");
    }
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        SecurityInfo info = handshakes[i]->info();
        sockets[i].encrypt(handshakes[i]->take_stream(), std::move(info));
    }
    return {};
}

}  // namespace

Status encrypt_main(TlsEndpoint& tls, Socket& socket, const std::string& host,
                    const SetupLimits& limits) {
    MIGRATE_ASSIGN(auto context, tls.context(TlsRole::kClient, call_limits(limits)));
    MIGRATE_ASSIGN(const HandshakePtr handshake,
                   tls.begin_main(SocketDescriptor::of(socket), std::move(context), host));
    MIGRATE_TRY(complete(std::span(&handshake, 1), std::span(&socket, 1), limits));
    tls.remember(handshake->take_session());
    return {};
}

Status encrypt_data(TlsEndpoint& tls, std::span<Socket> sockets, const SetupLimits& limits) {
    MIGRATE_ASSIGN(const auto context, tls.context(TlsRole::kClient, call_limits(limits)));
    std::vector<HandshakePtr> handshakes;
    for (const Socket& socket : sockets) {
        MIGRATE_ASSIGN(HandshakePtr handshake,
                       tls.begin_data(SocketDescriptor::of(socket), context));
        handshakes.push_back(std::move(handshake));
    }
    return complete(handshakes, sockets, limits);
}

}  // namespace migrate::transport
