// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for live migration.
#pragma once

#include <array>
#include <cstdint>

#include "base/config/choices.hpp"
#include "base/config/option.hpp"
#include "base/config/rows/connection.hpp"
#include "base/units.hpp"

namespace migrate {

// The value of run-for for "forever".
inline constexpr std::uint64_t kRunForever = kNoMaximum;

namespace option_rows {

inline constexpr auto kLiveRows = in_section(
    OptionSection::kLive,
    std::to_array<Option>({
        {.key = "dirty-tracker",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .choices = kNames<TrackerName>,
         .help =
             "How to find the pages that a running guest writes; 'migrate probe' shows what this "
             "host supports."},
        {.key = "downtime-limit",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "300ms",
         .min = 1,
         .max = 2'000'000,
         .help = "Maximum downtime of the guest: last round, device state, loading and resuming.",
         .everyday = true,
         .live = true},
        {.key = "avail-switchover-bandwidth",
         .type = OptionType::kBytesPerSecond,
         .side = OptionSide::kSend,
         .default_text = "0",
         .max = 1024 * kGiB,
         .help = "The bandwidth to expect in the last round; 0 takes the measured bandwidth.",
         .live = true},
        {.key = "max-downtime",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "0",
         .max = 2'000'000,
         .help = "Raise downtime-limit up to this value when the migration stalls; 0 does not "
                 "raise it.",
         .live = true},
        {.key = "shorten-downtime",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "on",
         .help =
             "When the guest could be paused within downtime-limit, first send further rounds as "
             "long as each makes the pause much shorter and all of them take at most a tenth of "
             "the time so far. off: switch over at once, as QEMU does.",
         .live = true},
        {.key = "auto-converge",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "off",
         .help =
             "Throttle the guest's CPUs when it dirties memory faster than the channels send it.",
         .everyday = true,
         .live = true},
        {.key = "throttle-trigger-threshold",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "50",
         .min = 1,
         .max = 100,
         .help =
             "Throttle after two rounds in which the guest dirtied again at least this percentage "
             "of what was sent.",
         .live = true},
        {.key = "cpu-throttle-initial",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "20",
         .min = 1,
         .max = 99,
         .help = "Percentage of the guest's CPU time that the first throttle step takes.",
         .live = true},
        {.key = "cpu-throttle-increment",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "10",
         .min = 1,
         .max = 99,
         .help = "Percentage that each further throttle step adds.",
         .live = true},
        {.key = "max-cpu-throttle",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "99",
         .min = 1,
         .max = 99,
         .help = "Maximum percentage that throttling takes.",
         .live = true},
        {.key = "deadline",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "0",
         .max = kLongestTimeoutMs,
         .help = "Time after which on-deadline takes effect in a live migration; 0 is no deadline.",
         .live = true},
        {.key = "on-deadline",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "cancel",
         .choices = kNames<OnDeadline>,
         .help =
             "What to do at the deadline. switch: switch over after the current round, whatever "
             "the downtime; cancel: end the migration and let the guest run at the source.",
         .live = true},
        {.key = "stall-limit",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "60s",
         .max = kLongestTimeoutMs,
         .help =
             "End a migration that makes no progress for this long although throttle and downtime "
             "are at their limits, or whose receiver confirms nothing for this long; 0 never ends "
             "it.",
         .live = true},
        {.key = "pause-before-switchover",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "off",
         .help = "Pause the guest, then wait for 'migrate-continue' on the QMP socket."},
        {.key = "switchover-ack",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "off",
         .help =
             "Do not switch over before the receiver has acknowledged that it can run the guest."},
        {.key = "postcopy-ram",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "off",
         .help =
             "Allow post-copy: the guest runs at the receiver before all of its memory is there, "
             "and what it touches is fetched. QMP's migrate-start-postcopy begins it. If the "
             "source ends meanwhile, the guest is lost.",
         .negotiated = true},
        {.key = "postcopy",
         .side = OptionSide::kSend,
         .default_text = "off",
         .value_name = "off|manual|on-stall|after-round=N",
         .help =
             "When to begin post-copy; every value but off allows it (postcopy-ram). manual: on "
             "QMP's migrate-start-postcopy; on-stall: also when the migration stalls and throttle "
             "and downtime are at their limits; after-round=N: also after round N, and with 0 "
             "before the first one. A guest that can be paused within downtime-limit is switched "
             "over without it."},
        {.key = "max-postcopy-bandwidth",
         .type = OptionType::kBytesPerSecond,
         .side = OptionSide::kSend,
         .default_text = "0",
         .max = 1024 * kGiB,
         .help = "Limit in post-copy for the pages that the guest does not wait for; 0 is no "
                 "limit. max-bandwidth does not apply then."},
        {.key = "repeat",
         .type = OptionType::kInteger,
         .default_text = "0",
         .max = 100000,
         .help =
             "Make N round trips: the guest moves to the receiver and back, and the two sides swap "
             "roles. The statistics file has a list with one report for each leg. Both sides need "
             "the "
             "option, and the receiver's value is the maximum. 0 is one migration in one "
             "direction."},
        {.key = "return-listen",
         .type = OptionType::kHostPort,
         .side = OptionSide::kSend,
         .default_text = "127.0.0.1:0",
         .min = 0,
         .max = 65535,
         .help =
             "With repeat: the address where this side waits for the guest to come back. Between "
             "two hosts it must be an address that the receiver can reach."},
        {.key = "run-for",
         .type = OptionType::kDurationMs,
         .default_text = "1s",
         .max = kLongestTimeoutMs,
         .word = "forever",
         .word_value = kRunForever,
         .help =
             "How long a guest runs on this side after the migration, before it is paused, checked "
             "and reported."},
        {.key = "qmp",
         .value_name = "unix:PATH",
         .help = "Serve QMP on this socket, so that QEMU's tools can follow and control the "
                 "migration.",
         .everyday = true},
    }));

}  // namespace option_rows

}  // namespace migrate
