// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for reports.
#pragma once

#include <array>

#include "base/config/choices.hpp"
#include "base/config/option.hpp"
#include "base/log.hpp"

namespace migrate {

namespace option_rows {

inline constexpr auto kReportsRows = in_section(
    OptionSection::kReports,
    std::to_array<Option>({
        {.key = "progress",
         .type = OptionType::kChoice,
         .default_text = "auto",
         .choices = kNames<AutoOnOff>,
         .help = "Show progress; auto shows it if standard error is a terminal."},
        {.key = "json",
         .type = OptionType::kOnOff,
         .default_text = "off",
         .help =
             "Print one line of JSON on standard output at the end, and nothing else there: the "
             "outcome, its reason and which side has the guest. Reports for people go to standard "
             "error. --json without a value is on.",
         .everyday = true,
         .alone = true},
        {.key = "verbose",
         .type = OptionType::kOnOff,
         .default_text = "off",
         .help = "Print all figures at the end, one on a line, instead of the summary. --verbose "
                 "without a value is on.",
         .everyday = true,
         .alone = true},
        {.key = "quiet",
         .type = OptionType::kOnOff,
         .default_text = "off",
         .help = "Print nothing but errors, and the object of json: no summary, no progress, no "
                 "other messages. --quiet without a value is on; -q is short for it.",
         .everyday = true,
         .alone = true},
        {.key = "stats",
         .value_name = "FILE",
         .help = "Write the statistics to this file as JSON with QEMU's field names: at the start "
                 "with the status setup, and again at the end.",
         .everyday = true},
        {.key = "events",
         .value_name = "FILE",
         .help = "Write each event to this file when it happens, one JSON object per line."},
        {.key = "metrics",
         .type = OptionType::kHostPort,
         .min = 0,
         .max = 65535,
         .help = "Serve the figures as Prometheus metrics on this address while the program runs: "
                 "http://HOST:PORT/metrics. With port 0 the kernel chooses a port, which is "
                 "printed. Whoever reaches the address can read them."},
        {.key = "metrics-file",
         .value_name = "FILE",
         .help = "Write the same metrics to this file, once a second and at the end, for the "
                 "textfile collector of node_exporter. The name must end in .prom there."},
        {.key = "log-level",
         .type = OptionType::kChoice,
         .default_text = "info",
         .choices = kNames<log::Level>,
         .help = "Lowest severity of the messages on standard error."},
    }));

}  // namespace option_rows

}  // namespace migrate
