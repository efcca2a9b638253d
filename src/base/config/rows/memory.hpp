// SPDX-License-Identifier: Apache-2.0
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
        {.key = "guest-name",
         .value_name = "NAME",
         .help = "The guest's name, at most 64 printable characters. A receiver that has one takes "
                 "only a sender of the same name, so that two guests cannot be mixed up. Empty is "
                 "none."},
        {.key = "quit-source",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "off",
         .help =
             "End the source's QEMU once its guest runs at the destination; off leaves it paused."},
        {.key = "reuse",
         .side = OptionSide::kRecv,
         .value_name = "FILE",
         .help =
             "An older image, the memory file of an earlier stay, or a bundle's folder: pages that "
             "the sender has with the same content are taken from there and not sent. Nothing "
             "else depends on it, whatever it holds."},
        {.key = "resume",
         .type = OptionType::kOnOff,
         .side = OptionSide::kRecv,
         .default_text = "off",
         .help = "Continue a transfer into --sink file:PATH that broke off, and keep what arrives "
                 "in PATH.partial until it is complete. --resume without a value is on.",
         .alone = true},
        {.key = "page-digests",
         .type = OptionType::kOnOff,
         .side = OptionSide::kSend,
         .default_text = "on",
         .help = "Ask a receiver that has pages already (reuse, resume) which ones need not be "
                 "sent. Off sends every page.",
         .negotiated = true},
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
