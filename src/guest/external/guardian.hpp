// A second process that puts a foreign guest right if this one dies: a SIGKILL between pausing a
// guest and letting it go must not leave it paused for ever. Invariant: what was entrusted last,
// and that alone, is done, and only after this process is gone or gave up by act().
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

// What there is to put right, in this order.
struct Undo {
    bool wake = false;                                         // SIGCONT to the guest's process
    std::vector<std::pair<std::string, std::string>> files{};  // path and content: a cgroup's knobs
    // A guest of QEMU that we stopped: it runs again, if that is still ours to decide.
    Held held{};
    // Commands in QMP's own words, one JSON object each; one that QEMU refuses is tried again for
    // up to 10 s, and then left out. While QEMU cannot be reached at all, or another client
    // migrates its guest, it is tried for as long as the guest's process is there.
    std::vector<std::string> commands{};
};

class Guardian {
  public:
    // Watches over a process that was claimed, whose claim it keeps, and the QMP socket `qmp`
    // ("unix:PATH"; empty: none). Forks: the new process has no other descriptor of ours, takes no
    // terminal's signals, and ends with this object.
    static Result<std::unique_ptr<Guardian>> start(ProcessClaim claim, const std::string& qmp);
    ~Guardian();
    Guardian(const Guardian&) = delete;
    Guardian& operator=(const Guardian&) = delete;

    // From its return on this is what will be done, and nothing that was entrusted before.
    Status entrust(const Undo& undo);
    // Does now, without this process waiting for it, what was entrusted last; nothing can be
    // entrusted any more.
    void act();
    // The signal, to the very process, even if its number was given to another one since. An Error
    // if it is gone.
    Status signal(int number) const;
    // Whether the process that is watched over is there; true where it is not known.
    bool alive() const;
    // Waits for its end; false if it did not come.
    bool ends_within(std::chrono::milliseconds time) const;

  private:
    Guardian(UniqueFd socket, ProcessClaim claim, pid_t child)
        : socket_(std::move(socket)), claim_(std::move(claim)), child_(child) {}

    UniqueFd socket_;
    ProcessClaim claim_;
    pid_t child_;
};

// Writes `content` into an existing file in one write, as the kernel's own files want it.
Status write_knob(const std::string& path, const std::string& content);

}  // namespace migrate::guest
