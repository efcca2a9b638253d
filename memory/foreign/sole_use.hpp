// SPDX-License-Identifier: Apache-2.0
// Ensures that only one other process uses some files, now and later, so that no other process's
// memory is cleared or written. Invariant: no process can open one of the files unnoticed between
// create() and the next check_again().
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "memory/foreign/file_users.hpp"

namespace migrate::memory {

// The reaction if not every process that may use the files can be examined.
using migrate::UnseenProcesses;

class SoleUse {
  public:
    // `owner` and this process may use the files. kRefused names another process that uses them, or
    // what could not be examined.
    static Result<std::unique_ptr<SoleUse>> create(std::vector<UsedFile> files,
                                                   const std::vector<int>& descriptors, pid_t owner,
                                                   UnseenProcesses unseen);

    // Repeats the check if one of the files was opened since the last check; otherwise takes one
    // system call. If the kernel does not report opens, it repeats the check once a second.
    // Thread-safe.
    Status check_again();

  private:
    SoleUse(std::vector<UsedFile> files, pid_t owner, UnseenProcesses unseen)
        : files_(std::move(files)), owner_(owner), unseen_(unseen) {}
    void watch(const std::vector<int>& descriptors);
    Status look();
    bool may_have_changed();

    std::vector<UsedFile> files_;
    pid_t owner_;
    UnseenProcesses unseen_;
    UniqueFd opens_;  // an inotify on the files; empty: the check is repeated by time
    std::atomic<std::chrono::steady_clock::rep> next_look_{0};  // next check, if opens_ is empty
    std::atomic<bool> is_refused_{false};                       // refused_ is set
    Mutex mutex_;
    std::optional<Error> refused_ GUARDED_BY(mutex_);  // permanent once set
    // The warning about processes that were not examined was logged.
    bool told_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::memory
