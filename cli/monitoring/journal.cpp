// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/journal.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/log.hpp"
#include "base/outcome.hpp"

namespace migrate::cli {
namespace {

// A value with a line end has its size before it, https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
void add(std::string& entry, std::string_view key, std::string_view value) {
    if (value.empty()) return;
    entry += key;
    if (value.find('\n') == std::string_view::npos) {
        entry += '=';
    } else {
        entry += '\n';
        std::uint64_t size = value.size();
        for (std::size_t i = 0; i < sizeof size; ++i, size >>= 8U) {
            entry += static_cast<char>(size & 0xFFU);
        }
    }
    entry += value;
    entry += '\n';
}

}  // namespace

bool logs_to_journal() {
    const char* const stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
           fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

std::string journal_entry(const engine::Report& report, std::string_view guest,
                          std::string_view how) {
    const Outcome outcome = report.outcome.value_or(Outcome::kFailed);
    const bool completed = outcome == Outcome::kCompleted;
    std::string entry;
    add(entry, "MESSAGE",
        fmt::format("migration {}{}{}", name_of(outcome), completed ? "" : ": ",
                    completed ? "" : how));
    add(entry, "MESSAGE_ID", kJournalMessageId);
    add(entry, "PRIORITY", std::to_string(completed ? LOG_INFO : LOG_ERR));
    add(entry, "SYSLOG_IDENTIFIER", "migrate");
    add(entry, "MIGRATE_SIDE", report.side);
    add(entry, "MIGRATE_GUEST", guest);
    add(entry, "MIGRATE_MEMORY", report.memory);
    add(entry, "MIGRATE_PEER", report.peer);
    add(entry, "MIGRATE_OUTCOME", name_of(outcome));
    add(entry, "MIGRATE_EXIT_CODE", std::to_string(exit_code_of(outcome)));
    add(entry, "MIGRATE_GUEST_OWNER", name_of(report.guest_owner));
    add(entry, "MIGRATE_TRANSFERRED_BYTES", std::to_string(report.transferred));
    add(entry, "MIGRATE_TOTAL_TIME_USEC", std::to_string(report.total_time.count()));
    if (report.has_downtime()) {
        add(entry, "MIGRATE_DOWNTIME_USEC", std::to_string(report.downtime.total.count()));
    }
    return entry;
}

UnixDatagrams connect_to_journal() {
    if (!logs_to_journal()) return {};
    Result<UnixDatagrams> journal = UnixDatagrams::connect(kJournalSocket, "the journal");
    if (journal) return *std::move(journal);
    log::debug("the journal gets no entry of its own: {}", journal.error().message());
    return {};
}

}  // namespace migrate::cli
