// SPDX-License-Identifier: Apache-2.0
// Says the input to a receiver that takes TLS only: what a stranger can reach without credentials.
// Input beginning with the first byte of a TLS handshake goes through the receiver's TLS, and any
// other is read as the hello of a sender that does not encrypt. Nothing of it may be accepted.
#include "tls_connection.hpp"

using namespace migrate;
using namespace migrate::transport;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const FuzzKey key;
    static const auto receiver = key.endpoint();
    static TcpPairs pairs;
    FuzzConnection connection(pairs.make(), *receiver);
    if (size != 0) {
        require(::send(connection.fd(), data, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
    }
    require(::shutdown(connection.fd(), SHUT_WR) == 0);
    require(!connection.outcome());
    return 0;
}
