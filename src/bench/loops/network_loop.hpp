// SPDX-License-Identifier: Apache-2.0
// The simplest program that moves memory over N loopback connections: one sending and one receiving
// thread a channel; nothing is checked or counted. migrate's speed is compared with this loop's.
#pragma once

#include <cstdint>

#include "base/enum_names.hpp"
#include "base/error.hpp"
#include "bench/loops/loop_memory.hpp"

namespace migrate::bench {

// The destination of the received bytes.
enum class Receiver {
    kDiscard,   // read into a small buffer, again and again
    kTruncate,  // thrown away by the kernel (MSG_TRUNC)
    kHuge,      // fresh private memory in huge pages
    kSmall,     // fresh private memory in 4 KiB pages
    kShared,    // a fresh memfd, populated chunk by chunk
    // The same memory as kSmall and kShared. Each chunk is read into a small buffer, from which
    // UFFDIO_COPY makes the pages and fills them: migrate's own placement into such memory.
    kSmallCopy,
    kSharedCopy,
};
constexpr auto enum_names(Receiver) {
    return names_of_enum<Receiver>({{Receiver::kDiscard, "discard"},
                                    {Receiver::kTruncate, "truncate"},
                                    {Receiver::kHuge, "huge"},
                                    {Receiver::kSmall, "small"},
                                    {Receiver::kShared, "shared"},
                                    {Receiver::kSmallCopy, "small-copy"},
                                    {Receiver::kSharedCopy, "shared-copy"}});
}

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

// Moves random data to a receiver in a forked process, so that no other thread may run. Memory is
// warmed before the clock starts.
Result<NetworkFigures> run_network_loop(const NetworkLoop& loop);

}  // namespace migrate::bench
