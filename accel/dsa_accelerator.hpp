// SPDX-License-Identifier: Apache-2.0
// zero-page-detection=dsa-accel: the work queues that a migration uses, shared by its channels.
// Invariant: a requested device that cannot be used is an Error of open(); the CPU never replaces
// it silently.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "accel/dsa/completion.hpp"
#include "accel/dsa/work_queue.hpp"
#include "accel/dsa/work_share.hpp"
#include "accel/page_scanner.hpp"
#include "accel/zero_kernel.hpp"
#include "base/config/choices.hpp"
#include "base/mutex.hpp"

namespace migrate::accel {

using migrate::CompletionModel;

// Counters of one queue, or of all of them. See dsa::QueueCounters.
struct AccelCounts {
    std::uint64_t batches = 0;
    std::uint64_t descriptors = 0;
    std::uint64_t retries = 0;
    std::uint64_t full = 0;
    std::uint64_t page_faults = 0;
    std::uint64_t list_faults = 0;
    std::uint64_t record_faults = 0;
    std::uint64_t bad_statuses = 0;
    std::uint64_t timeouts = 0;
    std::uint64_t late_pages = 0;
    std::uint64_t times_left = 0;
    std::uint64_t cpu_pages = 0;
    std::uint64_t looked_at = 0;
    std::uint64_t prefiltered = 0;
    std::uint64_t verified = 0;
    std::chrono::nanoseconds device_time{};
    std::chrono::nanoseconds wait_time{};

    AccelCounts& operator+=(const AccelCounts& other);
};

struct AccelQueueReport {
    std::string name;
    std::string mode;  // "shared", "dedicated"
    int numa_node = -1;
    bool software = false;
    bool disabled = false;  // it failed and was not used any more
    bool left = false;      // it gets only a trial batch from time to time
    std::string trouble;    // why it was disabled or left, most recently; empty: it never was
    AccelCounts counts;
};

// How the pages were divided between devices and CPU, over all channels.
struct AccelShareReport {
    double device_part = 0;  // of the pages that were checked whole, those that devices answered
    double cpu_ns = 0;       // time of the CPU to check a page; 0: not measured
    double device_ns = 0;    // time of the devices to answer for a page of one channel; 0 likewise
    double overhead_ns = 0;  // time of a channel to submit such a page and to wait for it
    std::string reason;      // of most channels
};

struct AccelReport {
    bool software = false;  // at least one queue is software: no saving may be claimed
    CompletionModel completion = CompletionModel::kInline;
    AccelShareReport share;
    std::vector<AccelQueueReport> queues;

    AccelCounts total() const;
};

class DsaAccelerator {
  public:
    struct Options {
        std::string path;  // accel-path; empty: every queue that this user may open
        CompletionModel completion = CompletionModel::kInline;
        AccelShare share = AccelShare::kAll;
        bool prefilter = false;
        std::size_t batch_pages = 128;  // pages of one PageScanner::submit()
        std::size_t verify_every = 0;   // accel-verify; 0: never
        std::chrono::milliseconds timeout = std::chrono::seconds(1);  // accel-timeout
        int numa_node = -1;  // node of the guest's memory; -1: not known
    };

    static Result<std::unique_ptr<DsaAccelerator>> open(const Options& options);
    ~DsaAccelerator();

    // Makes the scanner of channel `channel`. The channels use the queues in turn, beginning with
    // those near the memory. The scanner must end before this object. `kernel` answers for pages
    // that a device does not answer.
    Result<std::unique_ptr<PageScanner>> make_scanner(std::size_t channel,
                                                      const ZeroKernel& kernel);

    bool needs_thread() const { return threaded_ != nullptr; }
    // The thread's work, if needs_thread(): returns after stop was requested, once nothing is
    // outstanding. A scanner that still submits then would wait for ever, so the scanners must end
    // first.
    void run_completion(const std::stop_token& stop);

    // Any thread may call it.
    AccelReport report() const;

  private:
    DsaAccelerator(const Options& options, std::vector<std::unique_ptr<dsa::WorkQueue>> queues);

    Options options_;
    dsa::RealTime time_;
    dsa::InlineCompletion inline_;
    std::unique_ptr<dsa::ThreadCompletion> threaded_;
    std::vector<std::unique_ptr<dsa::WorkQueue>> queues_;  // those near the memory first
    mutable Mutex mutex_;
    std::vector<std::unique_ptr<dsa::ShareFigures>> figures_ GUARDED_BY(mutex_);  // of the channels
};

}  // namespace migrate::accel
