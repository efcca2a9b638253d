// Reads a packet from a connection as it is on the wire.
#pragma once

#include <vector>

#include "tests/support/must.hpp"
#include "transport/socket.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

struct ReceivedPacket {
    PacketHeader header;
    std::vector<PageRun> runs;
    std::vector<std::byte> payload;
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
    return received;
}

}  // namespace migrate::transport
