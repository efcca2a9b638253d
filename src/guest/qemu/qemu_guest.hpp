// SPDX-License-Identifier: Apache-2.0
// The source guest in a running, unmodified QEMU. Invariant: however this process ends, a guest
// that our own `stop` holds runs again, with QEMU's former settings and no throttle; unless it was
// given away, or another client of QEMU has changed its state.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config/choices.hpp"
#include "base/config/form.hpp"
#include "guest/external/guardian.hpp"
#include "guest/external/thread_clocks.hpp"
#include "guest/external/throttle.hpp"
#include "guest/guest.hpp"
#include "guest/qemu/device_stream.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/move_method.hpp"
#include "guest/qemu/qemu_memory.hpp"

namespace migrate::guest {

inline constexpr std::string_view kQemuKind = "qemu";
// QEMU leaves the state postmigrate only by running.
inline constexpr std::string_view kHowToRetry =
    "if it runs nowhere else, QMP's `cont`, and `stop` if it is to stay paused, make it ready for "
    "another migration";

// Parses "SOCKET[,pid=PID]". SOCKET is the path of a QMP socket of QEMU to which nobody else is
// connected; PID is QEMU's process, if another process listens on the socket. Refuses, with the
// reason: memory that cannot be reached, a guest that cannot be migrated or was moved already, and
// a QEMU that itself waits for a guest.
Result<Machine> open_qemu_machine(std::string_view uri, const ParsedForm& parsed);

// A QEMU's machine when it was opened.
struct KnownMachine {
    std::vector<MachinePart> parts{};  // empty: not known, or not compared
    MachineDifferences differences = MachineDifferences::kRefuse;  // what to do if it changes
};

class QemuGuest final : public Guest {
  public:
    QemuGuest(std::unique_ptr<Monitor> monitor, std::unique_ptr<Guardian> guardian,
              std::unique_ptr<Throttle> throttle, OpenedMemory memory, bool running,
              std::optional<DeviceSaver> saver = std::nullopt, KnownMachine machine = {});
    ~QemuGuest() override;

    void obey(std::stop_token stop) override { monitor_->obey(std::move(stop)); }
    std::string_view kind() const override { return kQemuKind; }
    bool lives_here() const override { return false; }
    bool running() const override { return running_; }
    std::string_view method() const override { return name_of(method_of(saver_.has_value())); }
    std::vector<MachinePart> machine() const override { return machine_.parts; }
    Result<std::optional<std::string>> prepare_pause(Saving saving) override;
    Status pause() override;
    Status resume() override;
    Status check_still() override;
    std::string disturbance() const override;
    Status check_alive() override;
    int alarm() const override { return alarm_.get(); }
    Status prepare_give_away() override;
    Status throttle(unsigned percent) override;
    Result<std::string> save_state() override;
    Activity activity() const override;
    std::optional<std::chrono::microseconds> cpu_time() const override { return vcpus_.cpu_time(); }
    // The threads of its vCPUs. Called before any other thread uses the guest.
    void watch_vcpus(ThreadClocks vcpus) { vcpus_ = std::move(vcpus); }
    Status check() override { return {}; }
    Status check_unchanged() override;
    Result<std::optional<std::string>> outside_writer() override;
    void give_away() override;
    void take_back() override;
    Status quit() override;

  private:
    // Says who has kept the guest paused since pause().
    enum class Hold { kNobody, kWe, kAnother };

    Status entrust();
    Status prepare();
    Status keep_paused();
    Status save_at_once();
    Status check_can_be_saved(const QemuMigration& migration);
    Result<std::string> save_alone();
    Result<std::string> save_by_migration();
    void activate_disks();
    Status stop();
    Status settle(const GiveBackResult& given);
    Status leave_to_guardian(const Error& why);
    Status check_is_here();
    Status check_state();
    Status check_state(std::string state);
    Status check_migration();

    std::unique_ptr<Monitor> monitor_;  // null once everything is left to the guardian
    std::unique_ptr<Guardian> guardian_;
    std::unique_ptr<Throttle> throttle_;
    OpenedMemory memory_;
    KnownMachine machine_;
    // Set if the devices are saved alone; otherwise QEMU's own migration saves them.
    std::optional<DeviceSaver> saver_;
    Saving saving_ = Saving::kLater;
    bool saved_alone_ = false;   // QEMU may have inactivated its disks
    bool saver_spent_ = false;   // resume() took its file from QEMU
    std::atomic<bool> running_;  // the last known state
    Hold hold_ = Hold::kNobody;
    std::string prepared_;  // QEMU's state when pause() was prepared; empty: it was not
    Held held_;
    std::string disturbance_;  // set when the guest was given back
    bool given_away_ = false;
    UniqueFd alarm_;  // an epoll descriptor: QEMU's end, and its events; empty if it has none
    ThreadClocks vcpus_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    // Time since the clock's epoch, 0 while not paused; relaxed, because it is a single number.
    std::atomic<std::chrono::steady_clock::rep> paused_at_{0};
};

// The saved state of a QEMU guest: a header that says how it was moved and whether it ran, then
// QEMU's own stream.
struct QemuState {
    MoveMethod method = MoveMethod::kSharedFiles;
    bool ran = true;
    std::string_view stream;
};
std::string encode_qemu_state(const QemuState& state);
// kProtocol if `state` is not such a state.
Result<QemuState> decode_qemu_state(std::string_view state);

}  // namespace migrate::guest
