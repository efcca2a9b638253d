// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for the channels and their threads.
#pragma once

#include <array>
#include <cstdint>

#include "base/config/choices.hpp"
#include "base/config/option.hpp"
#include "base/limits.hpp"
#include "base/units.hpp"

namespace migrate {

// The value of multifd-channels for "auto".
inline constexpr std::uint64_t kAutoChannels = 0;
// The value of multifd-socket-buffer for "auto".
inline constexpr std::uint64_t kAutoSocketBuffer = kNoMaximum;

namespace option_rows {

inline constexpr auto kChannelsRows = in_section(
    OptionSection::kChannels,
    std::to_array<Option>({
        {.key = "multifd-channels",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .min = 1,
         .max = kMaxChannels,
         .word = "auto",
         .word_value = kAutoChannels,
         .help =
             "Number of parallel TCP channels. auto: begins with 2 and adds more, up to 32, while "
             "each addition raises the throughput by more than a tenth and CPU time is left.",
         .everyday = true,
         .negotiated = true},
        {.key = "multifd-packet-size",
         .type = OptionType::kBytes,
         .side = OptionSide::kSend,
         .default_text = "512K",
         .min = kMinPacketBytes,
         .max = kMaxPacketBytes,
         .multiple_of = kPageSize,
         .help = "The largest amount of guest memory in one packet.",
         .negotiated = true},
        {.key = "multifd-socket-buffer",
         .type = OptionType::kBytes,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .min = 64 * kKiB,
         .max = kGiB,
         .word = "auto",
         .word_value = kAutoSocketBuffer,
         .help =
             "Size of each channel's socket buffers on both hosts. For a long path with a high "
             "bandwidth, use bandwidth x round-trip time / channels; net.core.wmem_max at the "
             "sender and net.core.rmem_max at the receiver must allow it. auto: from the path's "
             "round-trip time, or sized by the kernel.",
         .negotiated = true},
        {.key = "packet-checksum",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .choices = kNames<AutoOnOff>,
         .help =
             "Send a checksum (XXH3) of each packet's content. The receiver checks it before the "
             "pages count as placed, and a damaged packet ends the migration. auto: on, except "
             "with TLS, which protects every byte, for a sink that keeps nothing, and for memory "
             "of a guest that zero-copy-send sends while the guest may write to it. on: always.",
         .negotiated = true},
        {.key = "zero-copy-send",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .choices = kNames<AutoOnOff>,
         .help =
             "Send guest memory without copying it into the socket (MSG_ZEROCOPY). A channel on "
             "which the kernel copies anyway, or refuses for lack of RLIMIT_MEMLOCK, copies from "
             "then on; compressed packets are always copied. auto: on, except to an address of "
             "this host, and for a file, which is read into a buffer."},
        {.key = "max-bandwidth",
         .type = OptionType::kBytesPerSecond,
         .side = OptionSide::kSend,
         .default_text = "0",
         .max = 1024 * kGiB,
         .help = "Bandwidth limit for all channels together; 0 is no limit.",
         .everyday = true,
         .live = true},
        {.key = "cpu-affinity",
         .default_text = "auto",
         .value_name = "auto|off|LIST",
         .help =
             "The CPUs of this side's threads, but not of a built-in guest. LIST: only these, like "
             "0-3,8. auto, and a LIST too: on a host with several NUMA nodes each of the sender's "
             "channels runs on the node whose memory it reads. off: no placement."},
        {.key = "cpu-budget",
         .type = OptionType::kInteger,
         .default_text = "0",
         .max = 100,
         .help =
             "Percentage of the host's CPU time that all threads of this side may use together "
             "while the guest runs, without those of a built-in guest; 0 is no limit. The limit "
             "does not hold once the guest is paused, nor after a deadline that switches over."},
    }));

}  // namespace option_rows

}  // namespace migrate
