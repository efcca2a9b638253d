// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/journal.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::cli {
namespace {

using Catch::Matchers::Contains;

engine::Report completed() {
    engine::Report report;
    report.side = "send";
    report.status = engine::MigrationStatus::kCompleted;
    report.outcome = Outcome::kCompleted;
    report.guest_owner = engine::GuestOwner::kDestination;
    report.memory = "qemu:/run/vm.qmp";
    report.peer = "192.0.2.7:4444";
    report.transferred = 1234;
    report.total_time = std::chrono::microseconds(3'500'000);
    report.guest.emplace();
    report.downtime.total = std::chrono::microseconds(210'500);
    return report;
}

TEST_CASE("the journal gets the outcome and the figures as fields") {
    const std::string entry = "\n" + journal_entry(completed(), "web1", "completed");
    for (const char* line :
         {"MESSAGE=migration completed", "PRIORITY=6", "SYSLOG_IDENTIFIER=migrate",
          "MIGRATE_SIDE=send", "MIGRATE_GUEST=web1", "MIGRATE_MEMORY=qemu:/run/vm.qmp",
          "MIGRATE_PEER=192.0.2.7:4444", "MIGRATE_OUTCOME=completed", "MIGRATE_EXIT_CODE=0",
          "MIGRATE_GUEST_OWNER=destination", "MIGRATE_TRANSFERRED_BYTES=1234",
          "MIGRATE_TOTAL_TIME_USEC=3500000", "MIGRATE_DOWNTIME_USEC=210500"}) {
        CHECK_THAT(entry, Contains("\n" + std::string(line) + "\n"));
    }
}

TEST_CASE("a reason with a line end makes no further field of the journal") {
    engine::Report report;
    report.side = "recv";
    report.outcome = Outcome::kRefused;
    const std::string entry = journal_entry(report, "", "a\nMIGRATE_OUTCOME=completed");
    const std::string message = "migration refused: a\nMIGRATE_OUTCOME=completed";
    // The size of the value, in eight bytes, before the value.
    const std::string size{static_cast<char>(message.size()), 0, 0, 0, 0, 0, 0, 0};
    CHECK(entry.starts_with("MESSAGE\n" + size + message + "\n"));
    CHECK_THAT(entry, Contains("\nPRIORITY=3\n") && !Contains("MIGRATE_GUEST="));
}

TEST_CASE("the journal is asked only if standard error goes there") {
    struct stat status {};
    REQUIRE(::fstat(STDERR_FILENO, &status) == 0);
    ::unsetenv("JOURNAL_STREAM");
    CHECK_FALSE(logs_to_journal());
    ::setenv("JOURNAL_STREAM", "1:2", 1);
    CHECK_FALSE(logs_to_journal());
    const std::string own = fmt::format("{}:{}", status.st_dev, status.st_ino);
    ::setenv("JOURNAL_STREAM", own.c_str(), 1);
    CHECK(logs_to_journal());
    ::unsetenv("JOURNAL_STREAM");
}

TEST_CASE("a message to a program that does not read is lost, and nobody waits") {
    const TemporaryFolder folder;
    const UniqueFd reader = bound_unix_socket(folder / "socket", SOCK_DGRAM);
    const UnixDatagrams datagrams = must(UnixDatagrams::connect(folder / "socket", "a test"));
    // More than any queue of datagrams takes.
    for (int i = 0; i < 10'000; ++i) datagrams.send("message");
    std::array<char, 16> buffer{};
    CHECK(::recv(reader.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) == 7);
    CHECK(message_of(UnixDatagrams::connect(folder / "missing", "a test")) ==
          "cannot connect to a test: No such file or directory");
    UnixDatagrams().send("to nobody");
}

}  // namespace
}  // namespace migrate::cli
