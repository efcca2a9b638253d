// SPDX-License-Identifier: Apache-2.0
// The entry of systemd's journal about the end of a migration, with fields to search for:
// `journalctl MIGRATE_GUEST=web1`. Invariant: nothing waits for the journal, and a program whose
// standard error does not go there writes no entry.
#pragma once

#include <string>
#include <string_view>

#include "cli/unix_datagrams.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

// The fields that every such entry has in common, systemd.journal-fields(7).
inline constexpr std::string_view kJournalMessageId = "d7b4e1c02f6a4c6f9a5b3e8d1c70f2a4";
inline constexpr std::string_view kJournalSocket = "/run/systemd/journal/socket";

// True if standard error is the journal, by $JOURNAL_STREAM (systemd.exec(5)).
bool logs_to_journal();

// The entry in the journal's native protocol. `guest` is the value of guest-name; `how` is
// "completed" or the reason of the failure.
std::string journal_entry(const engine::Report& report, std::string_view guest,
                          std::string_view how);

// Connects to the journal if logs_to_journal(); otherwise, and if that fails, to nobody.
UnixDatagrams connect_to_journal();

}  // namespace migrate::cli
