// SPDX-License-Identifier: Apache-2.0
// Reads a packet from a connection as it is on the wire.
#pragma once

#include <vector>

#include "tests/support/must.hpp"
#include "transport/payload_checksum.hpp"
#include "transport/socket.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

struct ReceivedPacket {
    PacketHeader header;
    std::vector<PageRun> runs;
    std::vector<std::byte> payload;
    bool checksum_is_right = false;  // there is one, of this payload
};

// Fails the test if the packet is not valid under `limits`.
inline ReceivedPacket receive_packet(Socket& socket, const PacketLimits& limits) {
    ReceivedPacket received;
    PacketHeaderBytes bytes{};
    must(socket.receive(bytes));
    received.header = must(decode_packet_header(bytes, limits));
    std::vector<std::byte> runs(received.header.run_bytes);
    must(socket.receive(runs));
    must(decode_runs(bytes, received.header, runs, limits, received.runs));
    received.payload.resize(received.header.payload_bytes);
    must(socket.receive(received.payload));
    if (!received.header.has_checksum) return received;
    PayloadChecksumBytes got{};
    must(socket.receive(got));
    PayloadChecksum checksum;
    checksum.add(received.payload);
    received.checksum_is_right = checksum.finish(bytes) == got;
    return received;
}

}  // namespace migrate::transport
