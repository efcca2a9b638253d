// Who owns the vCPUs: the seam between a migration and the guest whose memory moves. The engine
// knows nothing of a guest but this. Invariant: after pause() returned, no page changes until
// resume(), unless somebody else lets the guest run, which check_still() tells.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/page_sink.hpp"
#include "memory/page_source.hpp"

namespace migrate::guest {

// What the guest has done and felt since it first ran, on whichever host.
struct Activity {
    std::uint64_t bytes_written = 0;
    // The longest time between two writes of one of its threads, pauses and the way to another host
    // included (by the hosts' clocks, which must agree); 0 where the guest cannot tell.
    std::chrono::microseconds longest_gap{};
    // How long it was not paused: bytes_written over it is its rate.
    std::chrono::microseconds run_time{};
};

// The guest's own rate from one look at it to a later one, over the time that it was not paused; 0
// if it ran for none.
double bytes_per_second(const Activity& from, const Activity& to);

// Used by one thread at a time, but for activity().
class Guest {
  public:
    Guest() = default;
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    // Stops it for good, if it lives in this process; else leaves it as it is.
    virtual ~Guest() = default;

    // From here on a requested stop ends, with kCancelled, what this guest waits for: in every call
    // but resume(), which undoes what was done by then. Until give_away().
    virtual void obey(std::stop_token /*stop*/) {}

    // Whether it ends with this process; a VMM's guest does not.
    virtual bool lives_here() const { return true; }
    // What the receiving host must be able to run, as in the handshake: "workload".
    virtual std::string_view kind() const = 0;
    virtual bool running() const = 0;
    // Whether pause() stops it; if not, its memory is of no single moment.
    virtual bool can_stand_still() const { return true; }
    // Returns when no vCPU runs. Idempotent. A guest that somebody else has paused meanwhile stays
    // his: resume() lets it be, and it arrives paused. kOwnerUnknown if somebody else has handed it
    // over.
    virtual Status pause() = 0;
    // Undoes pause(), if that stopped the guest and nobody else has changed its state since; else
    // lets it be, which is no error. Idempotent. Lifts no throttle. kOwnerUnknown if somebody else
    // has handed the guest over, or is doing so; and, of a guest that arrived, if it cannot be
    // known whether it runs: after any other Error it does not, and never will.
    virtual Status resume() = 0;
    // While paused: an Error if the guest may have run, been reset or been changed since pause() by
    // somebody else, so that what was copied is worth nothing. Else success.
    virtual Status check_still() { return {}; }
    // What check_still() found, or would find by what is known so far; empty: nothing. Asks nobody.
    virtual std::string disturbance() const { return {}; }
    // While it runs: an Error if it has ended. Waits for nothing.
    virtual Status check_alive() { return {}; }
    // Takes this share of each vCPU's time, 0 … 99 percent (QEMU's cpu-throttle-percentage); more
    // is an Error.
    virtual Status throttle(unsigned percent) = 0;
    // Everything but memory that the guest needs to go on elsewhere; at most kMaxStateBytes. Only
    // while paused.
    virtual Result<std::string> save_state() = 0;
    // Any thread.
    virtual Activity activity() const = 0;
    // Whether memory holds what the guest's own state says it must: an Error names the first page
    // that does not. Success too where the guest cannot tell. Only while paused.
    virtual Status check() = 0;
    // That its memory is what was opened: an Error names what was plugged, unplugged, resized or
    // mapped anew since. Running or paused.
    virtual Status check_unchanged() { return {}; }
    // Why memory may be written past its owner's page tables now, by the word of the guest's VMM,
    // as a clause; empty: it is not. Unset: there is nobody to ask (MemoryOwner::outside_writer).
    virtual Result<std::optional<std::string>> outside_writer() {
        return std::optional<std::string>();
    }
    // From here on it is another host's, whatever becomes of this process; take_back(): it is not
    // after all.
    virtual void give_away() {}
    virtual void take_back() {}
    // Ends what is left of a guest that was given away; an Error if that cannot be asked of it.
    virtual Status quit() { return make_error("a guest of kind '{}' cannot be quit", kind()); }
};

// Of any guest. QEMU's devices take some 100 KiB, and the memory of its own that it puts there too
// (a graphics card's) 16 MiB or more.
inline constexpr std::size_t kMaxStateBytes = std::size_t{256} * 1024 * 1024;

// A guest and its memory, which it writes.
struct Machine {
    std::unique_ptr<memory::PageSource> memory;
    std::unique_ptr<Guest> guest;  // null for an image; ends before its memory does
    // How long it is to run before a migration begins, so that its undisturbed rate is known.
    std::chrono::milliseconds warm_up{};
};

// Opens what `--source` names: "workload:…" (see workload_spec.hpp), "qemu:SOCKET[,pid=PID]" (see
// qemu/qemu_guest.hpp), "pid:PID,…" (see external/process_guest.hpp), or a PageSource, which is a
// machine without a guest. A guest of our own that comes with it is running when this returns.
Result<Machine> open_machine(std::string_view uri);

// Makes the guests of one kind go on in memory that is not this process's.
class GuestLoader {
  public:
    GuestLoader() = default;
    GuestLoader(const GuestLoader&) = delete;
    GuestLoader& operator=(const GuestLoader&) = delete;
    virtual ~GuestLoader() = default;

    virtual std::string_view kind() const = 0;
    // As load_guest(), once, in the sink's memory. kCancelled once the stop was requested: the
    // guest does not run here then, and never will.
    virtual Result<std::unique_ptr<Guest>> load(std::string_view state,
                                                const std::stop_token& stop) = 0;
};

// Where a guest's memory goes, and who runs it there.
struct Destination {
    std::unique_ptr<memory::PageSink> memory;
    std::unique_ptr<GuestLoader> loader;  // null: this process; outlives the guest

    // Whether a guest of that kind (empty: an image) can arrive here; an Error says why not.
    Status check(std::string_view kind) const;
    // As GuestLoader::load().
    Result<std::unique_ptr<Guest>> load(std::string_view kind, std::string_view state,
                                        std::vector<std::span<std::byte>> regions,
                                        const std::stop_token& stop) const;
};

// Opens what `--sink` names: "qemu:SOCKET[,pid=PID]" (see qemu/qemu_incoming.hpp), or a PageSink.
Result<Destination> open_destination(std::string_view uri);

// Whether this program itself can run guests of that kind.
bool can_run(std::string_view kind);
// The guest that was saved as `state`, paused, in the memory that arrived, a span a region, which
// outlives it. The state is a peer's word: checked before it is used.
Result<std::unique_ptr<Guest>> load_guest(std::string_view kind, std::string_view state,
                                          std::vector<std::span<std::byte>> regions);

}  // namespace migrate::guest
