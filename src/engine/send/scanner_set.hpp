// SPDX-License-Identifier: Apache-2.0
// The scanners of a session, and the kernels, or the devices and their thread, that they use.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "accel/dsa_accelerator.hpp"
#include "base/thread.hpp"
#include "engine/send/span_scanner.hpp"
#include "engine/session_config.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

class ScannerSet {
  public:
    // Makes one scanner for each channel of the start, or a single one in legacy mode, where one
    // thread scans. `source` outlives the set.
    static Result<std::unique_ptr<ScannerSet>> create(const SendConfig& config,
                                                      const memory::PageSource& source);

    // The scanner of a channel; makes it if the channel is the next one that has none. Called by
    // the session's thread.
    Result<SpanScanner*> scanner(std::size_t channel);
    // Name of the zero page kernel; "none" if zero pages are not looked for.
    const std::string& kernel_name() const { return kernel_name_; }

    // For each region: true if its pages are sent from where they are, false if they are read into
    // a channel's buffer first.
    std::vector<bool> regions_in_place() const;

    // Called before the first scan. `times` and `cancellation` outlive the set. Fails if the thread
    // that takes the devices' answers cannot be started.
    Status start(ThreadTimes& times, Cancellation& cancellation);
    // Called after the last scan. May be called again, or without start().
    void stop();

    // Nothing if no device is used. Any thread.
    std::optional<accel::AccelReport> accel_report() const;

  private:
    ScannerSet(const memory::PageSource& source, const SpanScanner::Options& options,
               PrefaultedPages prefaulted)
        : source_(source), options_(options), prefaulted_(std::move(prefaulted)) {}
    Status add();

    const memory::PageSource& source_;
    SpanScanner::Options options_;
    PrefaultedPages prefaulted_;                 // used with an accelerator only
    const accel::ZeroKernel* kernel_ = nullptr;  // null: zero pages are not looked for
    std::uint64_t staging_bytes_ = 0;            // 0: pages are checked in place
    bool reads_mapped_ = false;                  // true if mapped pages are staged as well
    std::string kernel_name_ = "none";
    std::unique_ptr<accel::DsaAccelerator> accelerator_;
    std::vector<std::unique_ptr<SpanScanner>> scanners_;
    std::stop_source completion_stop_;
    std::optional<SessionThread> completion_;
};

// Says for each region whether its pages may change while they are sent from where they are. A
// guest writes to its memory, and other processes may write to a file.
std::vector<bool> changing_regions(const memory::PageSource& source, const ScannerSet& scanners,
                                   bool guest);

}  // namespace migrate::engine
