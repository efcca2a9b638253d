// SPDX-License-Identifier: Apache-2.0
// The list of the migrations that run on this host: a small file for each process in a run-time
// folder. Invariants: a process holds a lock on its file from the moment it has a name until it
// ends, however it ends, so a file without a lock is that of a dead process; only the file's owner
// and root can read it; nothing here can keep a migration from running.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "cli/monitoring/running_migration.hpp"

namespace migrate::cli {

// The file of this process.
class HostEntry {
  public:
    // Makes the file, in $RUNTIME_DIRECTORY, which a unit of systemd has; for root in /run/migrate;
    // otherwise in $XDG_RUNTIME_DIR/migrate. Removes files of dead processes there. Fails if there
    // is no such folder that belongs to this user.
    static Result<HostEntry> create(const RunningMigration& first);

    // Any thread, one at a time. Needs no right to open files.
    Status write(const std::string& json) const;
    // Removes the file, if the receiver's sandbox allows it; otherwise the next process does.
    void remove() const;

  private:
    HostEntry(UniqueFd folder, UniqueFd file, std::string name)
        : folder_(std::move(folder)), file_(std::move(file)), name_(std::move(name)) {}

    UniqueFd folder_;
    UniqueFd file_;  // locked
    std::string name_;
};

// The migrations that this user may see, by process id: its own ones, for root those of all users.
// Removes files of dead processes.
std::vector<RunningMigration> running_migrations();

// The output of `migrate status`, as text and as JSON.
std::string status_lines(const std::vector<RunningMigration>& running);
std::string status_json(const std::vector<RunningMigration>& running);

}  // namespace migrate::cli
