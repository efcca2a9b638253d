// SPDX-License-Identifier: Apache-2.0
// The state of QEMU's devices without any memory, as a stream that a waiting QEMU loads. Both sides
// exchange it with QEMU through a file without a name that is passed as a descriptor, so that QEMU
// needs no path, no network and no child process, and a sandbox changes nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

// QEMU's own saved state (xen-save-devices-state) lacks what QEMU's incoming side requires: the
// section that names the machine, and the description at the end. Returns it with both. kProtocol
// if `saved` is no such state.
Result<std::string> complete_device_stream(std::string_view saved, std::string_view machine);
// Returns the machine's name in such a stream; kProtocol if it is malformed.
Result<std::string> machine_of(std::string_view stream);

// A memfd that QEMU has too, under a path of its own ("/dev/fdset/N"). Invariant: as long as QEMU
// has it, Monitor::undo() has the command that takes it from QEMU again.
class PassedFile {
  public:
    enum class QemuMay { kRead, kWrite };
    static Result<PassedFile> pass(Monitor& monitor, QemuMay access, std::string_view note);

    const std::string& path() const { return path_; }
    int fd() const { return file_.get(); }
    // The command that takes the file from QEMU.
    const std::string& undo() const { return undo_; }

  private:
    PassedFile(UniqueFd file, std::string path, std::string undo)
        : file_(std::move(file)), path_(std::move(path)), undo_(std::move(undo)) {}

    UniqueFd file_;
    std::string path_;
    std::string undo_;
};

// Saves the devices of a paused guest.
class DeviceSaver {
  public:
    // Does everything that need not wait for the pause.
    static Result<DeviceSaver> prepare(Monitor& monitor);

    // Tells QEMU to save them, without waiting until it has done so. The guest is paused, or a
    // `stop` was sent before. QEMU inactivates its disks, so that another QEMU can use them; `cont`
    // takes them back.
    Status begin(Monitor& monitor);
    // Returns the stream, of at most `limit` bytes; calls begin() if that was not called.
    Result<std::string> save(Monitor& monitor, std::size_t limit);
    // Leaves the sign in QEMU that its guest was handed over (find_signs()). Until give_away(),
    // Monitor::undo() removes it; from then on it stays, even after this process has ended.
    // take_back() undoes that.
    Status prepare_sign(Monitor& monitor);
    void give_away(Monitor& monitor) const {
        if (sign_) monitor.forget_undo(sign_->undo());
    }
    void take_back(Monitor& monitor) const {
        if (sign_) monitor.plan_undo(sign_->undo());
    }

  private:
    DeviceSaver(PassedFile file, std::string machine)
        : file_(std::move(file)), machine_(std::move(machine)) {}

    PassedFile file_;
    std::string machine_;
    std::optional<Monitor::Sent> begun_;  // by begin(), until save()
    std::optional<PassedFile> sign_;      // set by prepare_sign()
};

// Returns the numbers of the descriptor sets by which QEMU shows that its guest was handed over.
Result<std::vector<std::uint64_t>> find_signs(Monitor& monitor);

// Leaves the same sign in a QEMU whose guest arrived paused, before 10.0: it may be moved again
// only after `cont` has activated its disks.
Status leave_sign(Monitor& monitor);

// Loads a stream into a QEMU that waits for it.
class DeviceLoader {
  public:
    // Does everything that need not wait for the stream.
    static Result<DeviceLoader> prepare(Monitor& monitor);

    // kLostConnection if QEMU ended while loading, as it does when it cannot load.
    Status load(Monitor& monitor, std::string_view stream) const;

  private:
    DeviceLoader(std::optional<PassedFile> file, std::string machine)
        : file_(std::move(file)), machine_(std::move(machine)) {}

    std::optional<PassedFile> file_;  // nothing: this QEMU loads from a socket only
    std::string machine_;
};

}  // namespace migrate::guest
