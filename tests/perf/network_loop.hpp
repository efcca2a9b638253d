// The plainest program that moves memory over N loopback connections: one send and one receive
// thread a channel, nothing checked, nothing counted. What it reaches is what migrate is measured
// against.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "perf/guest_memory.hpp"

namespace migrate::perf {

// What becomes of the bytes at the receiver.
enum class Receiver {
    kDiscard,   // read into a small buffer, again and again
    kTruncate,  // thrown away by the kernel (MSG_TRUNC)
    kHuge,      // fresh private memory in huge pages
    kSmall,     // fresh private memory in 4 KiB pages
    kShared,    // a fresh memfd, populated chunk by chunk
};
std::optional<Receiver> receiver_named(std::string_view name);

struct NetworkLoop {
    Receiver receiver = Receiver::kDiscard;
    unsigned channels = 8;
    std::uint64_t bytes = 0;       // a multiple of chunk
    std::uint64_t chunk = 524288;  // bytes behind one header
    PageSizing source = PageSizing::kHuge;
};

struct NetworkFigures {
    double seconds = 0;  // from the first connection to the last byte's arrival
    double sender_cpu_s = 0;
    double receiver_cpu_s = 0;
};

// Runs the receiver in a process of its own; random data, memory warmed before the clock starts.
Result<NetworkFigures> run_network_loop(const NetworkLoop& loop);

}  // namespace migrate::perf
