// zero-page-detection=dsa-accel: the work queues a migration uses, shared out among its channels.
// Invariant: what was asked for and cannot be had is an error of open(), never silently the CPU.
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
#include "accel/page_scanner.hpp"
#include "accel/zero_kernel.hpp"

namespace migrate::accel {

// accel-completion: who waits for the device.
enum class CompletionModel {
    kInline,  // the channel that asked
    kThread,  // one thread, dsa_completion, for all channels: the published model
};

// What a queue did, or all of them together. See dsa::QueueCounters.
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
    std::uint64_t cpu_pages = 0;
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
    bool disabled = false;  // it failed, and was used no more
    AccelCounts counts;
};

struct AccelReport {
    bool software = false;  // some queue is: no saving may be claimed
    CompletionModel completion = CompletionModel::kInline;
    std::vector<AccelQueueReport> queues;

    AccelCounts total() const;
};

class DsaAccelerator {
  public:
    struct Options {
        std::string path;  // accel-path; empty: every queue this user may use
        CompletionModel completion = CompletionModel::kInline;
        std::size_t batch_pages = 128;  // of one PageScanner::submit()
        std::size_t verify_every = 0;   // accel-verify; 0: never
        std::chrono::milliseconds timeout = std::chrono::seconds(1);  // accel-timeout
        int numa_node = -1;  // where the guest's memory is; -1: not known
    };

    static Result<std::unique_ptr<DsaAccelerator>> open(const Options& options);
    ~DsaAccelerator();

    // The scanner of the channel with this number: queues go round, those near the memory first. It
    // ends before this object does. `kernel` answers where a device does not.
    Result<std::unique_ptr<PageScanner>> make_scanner(std::size_t channel,
                                                      const ZeroKernel& kernel);

    bool needs_thread() const { return threaded_ != nullptr; }
    // The thread's work, if it needs one: ends after stop was requested, once nothing is
    // outstanding. Scanners that still submit then wait for ever, so they end first.
    void run_completion(const std::stop_token& stop);

    // Any thread.
    AccelReport report() const;

  private:
    DsaAccelerator(const Options& options, std::vector<std::unique_ptr<dsa::WorkQueue>> queues);

    Options options_;
    dsa::RealTime time_;
    dsa::InlineCompletion inline_;
    std::unique_ptr<dsa::ThreadCompletion> threaded_;
    std::vector<std::unique_ptr<dsa::WorkQueue>> queues_;  // near ones first
};

}  // namespace migrate::accel
