// SPDX-License-Identifier: Apache-2.0
// The page scanner that uses DSA work queues, several batches ahead. Invariant: every page is
// answered; the CPU answers the pages that a device does not.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "accel/dsa/batch.hpp"
#include "accel/dsa/completion.hpp"
#include "accel/dsa/first_look.hpp"
#include "accel/dsa/work_queue.hpp"
#include "accel/dsa/work_share.hpp"
#include "accel/page_scanner.hpp"
#include "accel/zero_kernel.hpp"

namespace migrate::accel::dsa {

class DsaPageScanner final : public PageScanner {
  public:
    struct Options {
        std::size_t batch_pages = 128;  // pages of one submit(), at most
        std::size_t verify_every = 0;   // accel-verify; 0: never
        std::chrono::nanoseconds timeout = std::chrono::seconds(1);  // for an answer
        AccelShare share = AccelShare::kAll;
        bool prefilter = false;           // accel-prefilter
        ShareFigures* figures = nullptr;  // outlives the scanner; null: none are kept
    };

    // Uses the first queue that is usable. The queues, `completion` and `kernel`, which answers on
    // the CPU, outlive the scanner.
    static Result<std::unique_ptr<DsaPageScanner>> create(std::vector<WorkQueue*> queues,
                                                          Completion& completion,
                                                          const ZeroKernel& kernel,
                                                          const Options& options);
    ~DsaPageScanner() override;

    std::string_view name() const override { return kernel_.name; }
    std::size_t depth() const override { return kDepth; }
    // Does nothing while the device gets no pages.
    void look_first(std::span<const PageExtent> batch) override;
    void submit(std::span<const PageExtent> batch) override;
    Status await() override;
    Status collect(std::span<std::uint64_t> zero_map) override;

  private:
    // One batch is being sent, one is waited for, and two keep the device busy.
    static constexpr std::size_t kDepth = 4;

    DsaPageScanner(std::vector<WorkQueue*> queues, Completion& completion, const ZeroKernel& kernel,
                   const Options& options);
    // Returns the first queue that is usable or due for a trial; null if there is none.
    WorkQueue* chosen_queue(Time::Point now) const;
    bool is_free(Batch& batch);
    void offer_waiting();
    void submit_rest(Batch& batch, Time::Point limit);
    // The oldest outstanding record of this scanner, or null.
    const std::atomic<std::uint8_t>* oldest_status() const;

    std::vector<WorkQueue*> queues_;
    Completion& completion_;
    const ZeroKernel& kernel_;
    Options options_;
    ShareFigures own_figures_;
    WorkShare share_;
    FirstLook first_look_;
    bool looked_ = false;         // true if look_first() saw the pages of the next submit()
    WorkShare::Outcome outcome_;  // of the oldest batch
    struct InFlight {
        std::unique_ptr<Batch> batch;
        std::chrono::nanoseconds submitting{};
    };
    std::array<InFlight, kDepth> batches_;  // a ring
    std::size_t oldest_ = 0;
    std::size_t waiting_ = 0;
    Time::Point seen_;  // time of the last answer
};

}  // namespace migrate::accel::dsa
