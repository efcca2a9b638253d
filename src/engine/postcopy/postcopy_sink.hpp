// SPDX-License-Identifier: Apache-2.0
// The receiving side of post-copy: the guest runs here before all of its pages have come.
// Invariants: no page is placed before the guest was handed over; a page that the guest touches is
// asked for at once, and again on each new connection; whatever the sender sends or fails to send,
// the guest waits for its pages and reads no others; a lost connection ends nothing: the sender may
// come back, however late, until stop().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"
#include "engine/postcopy/fault_latency.hpp"
#include "engine/postcopy/page_connection.hpp"
#include "engine/postcopy/page_sender.hpp"
#include "engine/postcopy/postcopy_progress.hpp"
#include "engine/postcopy/postcopy_report.hpp"
#include "memory/sink/missing_pages.hpp"
#include "transport/listener.hpp"

namespace migrate::engine {

class PostcopySink {
  public:
    // The next connection of this session for post-copy; kTimeout after the time, kCancelled after
    // a stop.
    using NextConnection = std::function<Result<transport::NewConnection>(std::chrono::milliseconds,
                                                                          const std::stop_token&)>;
    struct Needs {
        std::span<const RegionInfo> regions;  // outlives this object
        NextConnection next_connection;
        std::chrono::milliseconds io_timeout{};  // a connection on which nothing comes is lost
        std::chrono::milliseconds goodbye{};     // limit for the sender to learn of the end
    };
    static Result<std::unique_ptr<PostcopySink>> create(
        Needs needs, std::vector<memory::MissingPages::Memory> memory);
    ~PostcopySink() { stop(); }
    PostcopySink(const PostcopySink&) = delete;
    PostcopySink& operator=(const PostcopySink&) = delete;

    // POSTCOPY_PAGES came: these pages will be missing.
    Status remove(std::string_view body);
    // POSTCOPY_START came: takes the sender's connections from now on, and tells it there that all
    // pages that were named before are removed. May be called again.
    Status start();
    bool started() const { return listener_.joinable(); }
    // The last round is in place, and nothing else uses the memory: from now on a thread that
    // touches a missing page waits. kProtocol if the sender counts another number of them.
    Status arm(std::uint64_t missing);
    // The guest was resumed. May be called again.
    void guest_runs();

    PostcopyProgress& progress() { return progress_; }
    // Called once every page is in place: waits until the sender knows, at most for `goodbye`.
    void await_goodbye();
    // Any thread.
    PostcopyReport report() const;
    // Ends the threads. If pages are missing, the guest must have ended, or must never run.
    void stop();

  private:
    using Clock = std::chrono::steady_clock;
    using Page = std::pair<RegionId, std::uint64_t>;
    struct Pair {
        std::shared_ptr<PageConnection> urgent;
        std::unique_ptr<PageConnection> bulk;
    };
    PostcopySink(Needs needs, std::unique_ptr<memory::MissingPages> pages, Wakeup wakeup);
    Status listen(const std::stop_token& stop);
    Result<Pair> accept(const std::stop_token& stop);
    void use(Pair& pair, const std::stop_token& stop);
    Status tell(Pair& pair, const std::stop_token& stop);
    Status begin(Pair& pair);
    Status send_state(PageConnection& to) const;
    Status read(Pair& pair, PageConnection& from, const std::stop_token& stop);
    Status place(const PageConnection::Received& received);
    Status watch_faults(const std::stop_token& stop);
    void take_fault(const memory::MissingPages::Fault& fault);
    void note_arrived(RegionId region, PageRange pages);
    void lose(const Pair& pair, const Error& why);

    const Needs needs_;
    std::unique_ptr<memory::MissingPages> pages_;
    const Wakeup wakeup_;  // ends the wait for faults
    PostcopyPages placed_;
    FaultLatency latency_;
    PostcopyProgress progress_;
    std::atomic<std::uint64_t> dropped_{0};

    mutable Mutex mutex_;
    StopCondition changed_;
    struct Shared {
        bool runs = false;         // the guest
        bool told = false;         // kGuestRuns was sent once: the sender's list is outdated
        bool lost = false;         // the present pair
        bool may_come = false;     // pages may come on it
        bool begun = false;        // pages may be asked for on it
        bool goodbye = false;      // kBye came
        std::string reason{};      // why the pair is lost
        std::uint64_t starts = 0;  // calls of start()
        std::uint64_t missing = 0;
        std::uint64_t requests = 0;
        std::uint64_t bytes_before = 0;
        Pair* present = nullptr;
        std::map<Page, Clock::time_point> waiting{};  // pages that the guest waits for, since when
    };
    Shared shared_ GUARDED_BY(mutex_);
    Thread faults_;  // these use the rest
    Thread listener_;
};

}  // namespace migrate::engine
