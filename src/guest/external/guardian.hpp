// SPDX-License-Identifier: Apache-2.0
// A second process that restores a foreign guest if this process dies: a SIGKILL between pausing a
// guest and resuming it must not leave it paused forever. Invariant: the guardian carries out only
// the last Undo that was entrusted to it, and only after this process has ended or called act().
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "guest/external/process_claim.hpp"
#include "guest/qemu/give_back.hpp"

namespace migrate::guest {

// The actions that restore a guest, in this order.
struct Undo {
    bool wake = false;  // send SIGCONT to the guest's process
    std::vector<std::pair<std::string, std::string>> files{};  // path, content of cgroup files
    // A QEMU guest that we stopped. It is resumed unless another client changed its state since.
    Held held{};
    // QMP commands, one JSON object each. A command that QEMU refuses is retried for up to 10 s and
    // then skipped. While QEMU cannot be reached, or another client migrates its guest, the
    // guardian retries for as long as the guest's process exists.
    std::vector<std::string> commands{};
};

class Guardian {
  public:
    // Guards a claimed process, whose claim it keeps, and the QMP socket `qmp` ("unix:PATH"; empty:
    // none). Forks: the new process has no other descriptor of ours, receives no signals from a
    // terminal, and ends with this object.
    static Result<std::unique_ptr<Guardian>> start(ProcessClaim claim, const std::string& qmp);
    ~Guardian();
    Guardian(const Guardian&) = delete;
    Guardian& operator=(const Guardian&) = delete;

    // On success `undo` replaces every earlier one. After an Error (for example, the child does not
    // read for 5 s) the guest is not guarded any more.
    Status entrust(const Undo& undo);
    // Carries out the last entrusted Undo now, without waiting for the result. Nothing can be
    // entrusted afterwards.
    void act();
    // Sends the signal to exactly this process, even if its number now belongs to another one. An
    // Error if the process is gone.
    Status signal(int number) const;
    // A pidfd of the guarded process; -1 if there is no process to watch.
    int process() const { return claim_.process(); }
    // True if the guarded process exists; also true if there is no process to watch.
    bool alive() const;
    // Waits for the process to end; false if it did not end within `time`.
    bool ends_within(std::chrono::milliseconds time) const;

  private:
    Guardian(UniqueFd socket, ProcessClaim claim, pid_t child)
        : socket_(std::move(socket)), claim_(std::move(claim)), child_(child) {}
    void end_child();

    UniqueFd socket_;
    ProcessClaim claim_;
    pid_t child_;
};

// Writes `content` into an existing file with a single write, which the kernel's own files require.
Status write_knob(const std::string& path, const std::string& content);

}  // namespace migrate::guest
