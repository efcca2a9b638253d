// SPDX-License-Identifier: Apache-2.0
// A file sink whose content survives this process: PATH.partial, and beside it a journal of the
// pages that are on the disk (resume_journal.hpp). It appears as PATH when it is complete, as that
// of a file sink does. docs/resume.md describes both files.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

inline constexpr std::string_view kPartialSuffix = ".partial";
inline constexpr std::string_view kJournalSuffix = ".partial.journal";

// `uri` is for the description. kUsage if the path cannot become a file.
Result<std::unique_ptr<PageSink>> open_resumable_sink(std::string_view uri, std::string_view path);

}  // namespace migrate::memory
