// The scanners of a session, and what stands behind them: kernels, or devices and their thread.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "accel/dsa_accelerator.hpp"
#include "base/thread.hpp"
#include "engine/session_config.hpp"
#include "engine/span_scanner.hpp"
#include "memory/page_source.hpp"

namespace migrate::engine {

class ScannerSet {
  public:
    // One scanner a channel; in legacy mode, where one thread scans, a single one.
    static Result<std::unique_ptr<ScannerSet>> create(const SendConfig& config,
                                                      const memory::PageSource& source);

    SpanScanner& scanner(std::size_t channel) { return *scanners_[channel]; }
    // "none" if nobody looks for zero pages.
    const std::string& kernel_name() const { return kernel_name_; }

    // Before the first scan; `times` and `cancellation` outlive the set. Fails if the thread for
    // the answers cannot be started.
    Status start(ThreadTimes& times, Cancellation& cancellation);
    // After the last. May be called again, or without start().
    void stop();

    // Any thread. Nothing where no device is asked.
    std::optional<accel::AccelReport> accel_report() const;

  private:
    ScannerSet() = default;

    std::string kernel_name_ = "none";
    std::unique_ptr<accel::DsaAccelerator> accelerator_;
    std::vector<std::unique_ptr<SpanScanner>> scanners_;
    std::stop_source completion_stop_;
    std::optional<SessionThread> completion_;
};

}  // namespace migrate::engine
