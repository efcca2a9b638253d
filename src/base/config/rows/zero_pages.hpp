// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for zero pages and accelerators.
#pragma once

#include <array>
#include <cstdint>

#include "base/config/choices.hpp"
#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"

namespace migrate {

// The value of multifd-normal-page-ratio for "off": one more than its largest value, as published.
inline constexpr std::uint64_t kNormalPageRatioOff = 101;

namespace option_rows {

inline constexpr auto kZeroPagesRows = in_section(
    OptionSection::kZeroPages,
    std::to_array<Option>({
        {.key = "zero-page-detection",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "multifd",
         .choices = kNames<ZeroPageDetection>,
         .help = "The thread or device that looks for zero pages. none: no check; legacy: the "
                 "migration thread; multifd: the thread of each channel; dsa-accel: Intel DSA "
                 "devices."},
        {.key = "accel-path",
         .type = OptionType::kForms,
         .side = OptionSide::kSend,
         .forms = &kAccelPaths,
         .value_name = "PATHS",
         .help =
             "The work queues of dsa-accel, separated by spaces; in JSON also a list. Without it: "
             "every queue that this user may use."},
        {.key = "accel-completion",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "inline",
         .choices = kNames<CompletionModel>,
         .help =
             "The thread that waits for the devices. inline: each channel's own thread; thread: "
             "one thread, dsa_completion, for all channels, as in the published design."},
        {.key = "accel-prefilter",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "on",
         .help =
             "Let the CPU look at the first 64 bytes of a page before a device checks it, while "
             "that recognizes enough pages."},
        {.key = "accel-share",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .choices = kNames<AccelShare>,
         .help =
             "The pages that the devices check. auto: as many as they check in time, none if they "
             "do not pay off; all: all of them, as in the published design."},
        {.key = "accel-timeout",
         .type = OptionType::kDurationMs,
         .side = OptionSide::kSend,
         .default_text = "1s",
         .min = 1,
         .max = 60'000,
         .help = "Stop using a queue whose device does not answer for this long."},
        {.key = "accel-verify",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "0",
         .max = 1'000'000,
         .help = "Also check on the CPU every N-th page that a device has checked, and fail if the "
                 "results differ; 0 checks none."},
        {.key = "zero-kernel",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "auto",
         .choices = kNames<ZeroKernelName>,
         .help =
             "The CPU instructions that look for zero pages; auto takes the fastest that this CPU "
             "has."},
        {.key = "multifd-normal-page-ratio",
         .type = OptionType::kInteger,
         .side = OptionSide::kSend,
         .default_text = "off",
         .max = 100,
         .word = "off",
         .word_value = kNormalPageRatioOff,
         .help =
             "For measurements: send N of every 100 pages of a channel as normal pages, whatever "
             "they hold."},
    }));

}  // namespace option_rows

}  // namespace migrate
