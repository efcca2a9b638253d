// SPDX-License-Identifier: Apache-2.0
// The words of a baseline: a program or a loop that migrate is compared with.
//   iperf3:streams=8                                 the installed iperf3, over loopback
//   network:channels=8,receiver=huge,pages=huge,chunk=512K   a bare loop of sendmsg() and recv()
//   read:threads=2,pages=huge                        a bare loop that reads zeros
//   copy:threads=2,pages=huge                        a bare loop of memcpy() into fresh memory
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"
#include "bench/loops/network_loop.hpp"
#include "bench/loops/read_loop.hpp"

namespace migrate::bench {

struct BaselineSpec {
    enum class Kind { kIperf3, kNetwork, kRead, kCopy };
    Kind kind = Kind::kIperf3;
    unsigned threads = 1;  // 1 to 255: streams, channels or threads
    Receiver receiver = Receiver::kDiscard;
    PageSizing pages = PageSizing::kHuge;  // of the source, or of the memory that is read or filled
    std::uint64_t chunk = 512 * kKiB;      // bytes behind one header: 4K to 64M, whole pages
    std::uint64_t bytes = 0;               // 0: not given

    // The text that parse_baseline() turns back into this.
    std::string words() const;
};

// Fails with kUsage.
Result<BaselineSpec> parse_baseline(std::string_view text);

}  // namespace migrate::bench
