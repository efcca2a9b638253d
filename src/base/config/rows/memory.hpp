// The rows of the option table for the memory.
#pragma once

#include <array>

#include "base/config/choices.hpp"
#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"

namespace migrate {

namespace option_rows {

inline constexpr auto kMemoryRows = in_section(
    OptionSection::kMemory,
    std::to_array<Option>({
        {.key = "source",
         .type = OptionType::kForm,
         .side = OptionSide::kSend,
         .forms = &kSources,
         .value_name = "SOURCE",
         .help = "The memory to send.",
         .required = true},
        {.key = "sink",
         .type = OptionType::kForm,
         .side = OptionSide::kRecv,
         .forms = &kSinks,
         .value_name = "SINK",
         .help = "Where to put the memory.",
         .required = true},
        {.key = "placement",
         .type = OptionType::kChoice,
         .side = OptionSide::kRecv,
         .default_text = "auto",
         .choices = kNames<Placement>,
         .help =
             "How pages that were not written before get into memory. auto chooses by the kind of "
             "memory (see 'migrate probe'). in-place: receive straight into it. uffd-copy: the "
             "kernel allocates and fills them in one step (userfaultfd). Choose one only to "
             "measure."},
        {.key = "quit-source",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "off",
         .help =
             "End the source's QEMU once its guest runs at the destination; off leaves it paused."},
        {.key = "skip-unpopulated",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "on",
         .help =
             "Do not read memory that was never touched. Off reads all memory, for comparisons, "
             "except what reading would allocate in a guest that runs."},
        {.key = "verify",
         .type = OptionType::kChoice,
         .side = OptionSide::kSend,
         .default_text = "none",
         .choices = kNames<Verify>,
         .help = "Compare a digest of every region on both sides when all pages have arrived.",
         .everyday = true,
         .negotiated = true},
    }));

}  // namespace option_rows

}  // namespace migrate
