// That some files are used by one process only, now and later: nobody else's memory is cleared or
// written. Invariant: between create() and the next check_again() no process can have opened one of
// the files unnoticed.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/file_users.hpp"

namespace migrate::memory {

// What becomes of a check that cannot examine every process that may use the files.
enum class UnseenProcesses {
    kRefuse,
    kAllow,  // the user vouches for them: a warning
};

class SoleUse {
  public:
    // `owner` may use the files, and this process. kRefused names another process that does, or
    // what could not be examined.
    static Result<std::unique_ptr<SoleUse>> create(std::vector<UsedFile> files,
                                                   const std::vector<int>& descriptors, pid_t owner,
                                                   UnseenProcesses unseen);

    // The same, if one of the files was opened since the last check; else it costs a system call.
    // Where the kernel does not tell who opens a file, once a second. Thread-safe.
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
    UniqueFd opens_;  // an inotify of the files; empty: they are looked for by time
    std::atomic<std::chrono::steady_clock::rep> next_look_{0};  // where opens_ is empty
    std::atomic<bool> is_refused_{false};                       // refused_ is set
    std::mutex mutex_;                                          // guards what follows
    std::optional<Error> refused_;                              // once, for good
    bool told_ = false;                                         // what was not examined
};

}  // namespace migrate::memory
