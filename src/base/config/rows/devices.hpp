// SPDX-License-Identifier: Apache-2.0
// The rows of the option table for the devices' state.
#pragma once

#include <array>

#include "base/config/choices.hpp"
#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"
#include "base/units.hpp"

namespace migrate {

namespace option_rows {

inline constexpr auto kDevicesRows = in_section(
    OptionSection::kDevices,
    std::to_array<Option>({
        {.key = "devices",
         .type = OptionType::kForms,
         .forms = &kDevices,
         .value_name = "DEVICES",
         .help =
             "The devices whose state is moved, separated by spaces; in JSON also a list. NAME may "
             "end in #INSTANCE."},
        {.key = "multifd-device-state",
         .type = OptionType::kChoice,
         .default_text = "auto",
         .choices = kNames<AutoOnOff>,
         .help =
             "How device state is sent. on: over all channels, together with memory, with a thread "
             "for each device; off: one device after the other, over the main channel; auto: on if "
             "both sides support it."},
        {.key = "device-state-buffer",
         .type = OptionType::kBytes,
         .side = OptionSide::kRecv,
         .default_text = "128M",
         .min = 4 * kMiB,
         .max = 1024 * kGiB,
         .help =
             "Memory for device state that has arrived and is not loaded yet; channels wait when "
             "it is full. Needs at least 2 MiB for each device."},
    }));

}  // namespace option_rows

}  // namespace migrate
