// SPDX-License-Identifier: Apache-2.0
// The seam between a migration and the guest that owns the vCPUs. It is all that the engine knows
// of a guest. Invariant: after pause() returned, no page changes until resume(), unless another
// client lets the guest run; check_still() detects that.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/machine_part.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/sink/reuse_files.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::guest {

// Counters of the guest since it first ran, over all hosts.
struct Activity {
    std::uint64_t bytes_written = 0;
    // Longest time between two writes of one of its threads, including pauses and the move to
    // another host (by the hosts' clocks, which must agree); 0 if the guest cannot measure it.
    std::chrono::microseconds longest_gap{};
    // Time in which it was not paused; bytes_written / run_time is its rate.
    std::chrono::microseconds run_time{};
};

// The guest's own rate between two samples, over the time in which it was not paused; 0 if it did
// not run in between.
double bytes_per_second(const Activity& from, const Activity& to);

// When save_state() is called after pause().
enum class Saving { kAtOnce, kLater };

// One thread at a time uses it, except for activity().
class Guest {
  public:
    Guest() = default;
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    // Stops the guest permanently if it lives in this process; otherwise leaves the guest as it is.
    virtual ~Guest() = default;

    // From now on, until give_away(), a requested stop ends every wait of this guest with
    // kCancelled, except those of resume(), which undoes what was done by then.
    virtual void obey(std::stop_token /*stop*/) {}

    // True if the guest ends with this process; a VMM's guest does not.
    virtual bool lives_here() const { return true; }
    // The kind that the receiving host must be able to run, as in the handshake: "workload".
    virtual std::string_view kind() const = 0;
    virtual bool running() const = 0;
    // The way in which this kind of guest is moved, for reports, if there are several:
    // "ram-blocks", "shared-files".
    virtual std::string_view method() const { return {}; }
    // The machine that the guest needs at the receiver, as it was when the guest was opened; empty
    // if this kind of guest needs none.
    virtual std::vector<MachinePart> machine() const { return {}; }
    // False if pause() does not stop the guest: its memory is then not a snapshot of one moment.
    virtual bool can_stand_still() const { return true; }
    // Called just before pause(): checks what check_unchanged() and outside_writer() check, and
    // does what need not wait for the pause, so that the guest is paused for less time. kAtOnce:
    // the guest's state may be saved as soon as it is paused, before pause() returns. Returns the
    // answer of outside_writer().
    virtual Result<std::optional<std::string>> prepare_pause(Saving /*saving*/) {
        if (Status same = check_unchanged(); !same) return std::move(same).error();
        return outside_writer();
    }
    // Returns when no vCPU runs. Idempotent. If another client has paused the guest meanwhile, it
    // stays paused: resume() does not continue it, and it arrives paused. kOwnerUnknown if another
    // client has handed it over.
    virtual Status pause() = 0;
    // Called for a guest that arrived, while its source hands it over: does what need not wait for
    // resume(), so that this takes less time, and checks what can still be checked. An Error has
    // the meaning of one of resume().
    virtual Status prepare_resume() { return {}; }
    // Undoes pause() if that stopped the guest and nobody else has changed its state since;
    // otherwise does nothing and succeeds. Idempotent. Lifts no throttle. kOwnerUnknown if another
    // client has handed the guest over or is doing so, or if it is not known whether a guest that
    // arrived runs. After any other Error a guest that arrived does not run and never will.
    virtual Status resume() = 0;
    // While paused: an Error if the guest may have run, been reset or been changed by somebody else
    // since pause(), so that the copy is invalid. Else success.
    virtual Status check_still() { return {}; }
    // The disturbance that check_still() found, or would find from what is known so far; empty if
    // none. Sends no query.
    virtual std::string disturbance() const { return {}; }
    // An Error if the guest has ended, or while it runs, if it can no longer be moved: it was shut
    // down or reset, or it panicked. Waits only if something happened.
    virtual Status check_alive() { return {}; }
    // A descriptor that is readable when check_alive() should be called; -1: none. It belongs to
    // the guest.
    virtual int alarm() const { return -1; }
    // Takes `percent` of each vCPU's time, 0 … 99 (QEMU's cpu-throttle-percentage); a higher value
    // is an Error.
    virtual Status throttle(unsigned percent) = 0;
    // Returns everything except memory that the guest needs to continue elsewhere; at most
    // kMaxStateBytes. Only while paused.
    virtual Result<std::string> save_state() = 0;
    // Any thread may call it.
    virtual Activity activity() const = 0;
    // CPU time of its vCPUs, as far as it can be seen from outside; nothing if it cannot. Any
    // thread may call it.
    virtual std::optional<std::chrono::microseconds> cpu_time() const { return std::nullopt; }
    // Checks that memory holds what the guest's own state requires; an Error names the first page
    // that differs. Succeeds too if the guest cannot check. Only while paused.
    virtual Status check() = 0;
    // Checks that the guest's memory is still the memory that was opened; an Error names the part
    // that was plugged, unplugged, resized or remapped since. The guest may run or be paused.
    virtual Status check_unchanged() { return {}; }
    // Returns why memory may be written past its owner's page tables now, as the guest's VMM
    // reports it, as a clause; empty if it is not. Unset if there is no VMM to ask
    // (MemoryOwner::outside_writer).
    virtual Result<std::optional<std::string>> outside_writer() {
        return std::optional<std::string>();
    }
    // Called while the receiver loads the guest: does what need not wait for give_away(), so that
    // this takes no time of the paused guest's.
    virtual Status prepare_give_away() { return {}; }
    // give_away(): from now on the guest belongs to another host, whatever happens to this process.
    // take_back() undoes that.
    virtual void give_away() {}
    virtual void take_back() {}
    // Ends what is left of a guest that was given away; an Error if this kind of guest cannot be
    // ended.
    virtual Status quit() { return make_error("a guest of kind '{}' cannot be quit", kind()); }
};

// Limit for every kind of guest. QEMU's devices take about 100 KiB; memory of QEMU's own that is
// saved with them (a graphics card's) takes 16 MiB or more.
inline constexpr std::size_t kMaxStateBytes = std::size_t{256} * 1024 * 1024;

// A guest and the memory that it writes.
struct Machine {
    std::unique_ptr<memory::PageSource> memory;
    std::unique_ptr<Guest> guest;  // null for an image; ends before its memory does
    // Time that the guest runs before a migration begins, so that its undisturbed rate is known.
    std::chrono::milliseconds warm_up{};
};

// Opens the machine that `--source` names: "workload:…" (see workload_spec.hpp),
// "qemu:SOCKET[,pid=PID]" (see qemu/qemu_guest.hpp), "pid:PID,…" (see external/process_guest.hpp),
// "bundle:DIR" (see bundle/bundle_machine.hpp), or a PageSource, which is a machine without a
// guest. A built-in guest is running when this returns.
Result<Machine> open_machine(std::string_view uri);

// The process that a guest arrives in, if it is not this one.
struct GuestProcess {
    int descriptor = -1;  // a pidfd, which belongs to the loader; -1: there is none
    std::string name;     // for messages
};

// A guest that a sender offers. All of it comes from the peer.
struct GuestOffer {
    std::string kind;                               // empty: an image
    std::vector<MachinePart> machine{};             // empty: not described
    std::map<std::string, std::string> settings{};  // NegotiatedSettings::changed()
    bool comes_back = false;                        // the sender wants it back (repeat)
    bool simulated_devices = false;                 // they are loaded here together with the guest
};

// Loads guests into memory that does not belong to a guest of this process.
class GuestLoader {
  public:
    GuestLoader() = default;
    GuestLoader(const GuestLoader&) = delete;
    GuestLoader& operator=(const GuestLoader&) = delete;
    virtual ~GuestLoader() = default;

    virtual GuestProcess process() const { return {}; }
    // Checks that this guest can arrive, and that it still can long after the destination was
    // opened: called before any of its memory changes. An Error says why not.
    virtual Status check_ready(const GuestOffer& offer) = 0;
    // Called after each round in which the guest ran at its source: does what need not wait for its
    // state, so that load() takes less time. load() does it if this was not called.
    virtual Status prepare_load(const std::stop_token& /*stop*/) { return {}; }
    // Does the same as load_guest(), in the sink's memory. May be called once. kCancelled after a
    // stop was requested: then the guest does not run here, and never will.
    virtual Result<std::unique_ptr<Guest>> load(std::string_view state,
                                                const std::stop_token& stop) = 0;
};

// The memory that receives a guest, and the loader that runs the guest there.
struct Destination {
    std::unique_ptr<memory::PageSink> memory;
    std::unique_ptr<GuestLoader> loader;  // null: this process runs the guest; outlives the guest
    std::unique_ptr<memory::ReuseFiles> reuse{};  // null: none

    // Checks that this guest can arrive here; an Error says why not.
    Status check(const GuestOffer& offer) const;
    // Does the same as load_guest().
    Result<std::unique_ptr<Guest>> load(std::string_view kind, std::string_view state,
                                        std::vector<std::span<std::byte>> regions,
                                        const std::stop_token& stop) const;
};

// Opens the destination that `--sink` names: "qemu:SOCKET[,pid=PID]" (see qemu/qemu_incoming.hpp),
// "bundle:DIR" (see bundle/bundle_destination.hpp), or a PageSink.
// `extras`: see the options of these names.
struct Extras {
    std::string reuse{};  // path of an image or a bundle; empty: none
    memory::Resume resume = memory::Resume::kNo;
};
Result<Destination> open_destination(std::string_view uri, const Extras& extras = {});

// Returns true if this program itself can run guests of that kind.
bool can_run(std::string_view kind);
// Returns the guest that was saved as `state`, paused, in the memory that arrived: one span for
// each region. The memory outlives the guest. `state` comes from the peer and is checked before
// use.
Result<std::unique_ptr<Guest>> load_guest(std::string_view kind, std::string_view state,
                                          std::vector<std::span<std::byte>> regions);

}  // namespace migrate::guest
