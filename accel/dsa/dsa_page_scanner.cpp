#include "accel/dsa/dsa_page_scanner.hpp"

#include <algorithm>

namespace migrate::accel::dsa {

namespace {

// Number of attempts to submit the oldest batch to a full queue, as in QEMU's DSA series: 100 times
// 128.
constexpr std::uint32_t kMaxOffers = 12'800;

}  // namespace

Result<std::unique_ptr<DsaPageScanner>> DsaPageScanner::create(std::vector<WorkQueue*> queues,
                                                               Completion& completion,
                                                               const ZeroKernel& kernel,
                                                               const Options& options) {
    std::unique_ptr<DsaPageScanner> scanner(
        new DsaPageScanner(std::move(queues), completion, kernel, options));
    for (auto& batch : scanner->batches_) {
        MIGRATE_ASSIGN(batch, Batch::create(options.batch_pages, options.verify_every));
    }
    return scanner;
}

DsaPageScanner::~DsaPageScanner() {
    // Waits, because a device must not write an answer into memory that was freed.
    for (auto& batch : batches_) {
        if (!batch) continue;
        if (batch->outstanding()) batch->await(completion_);
        if (batch->lost()) batch->abandon();
    }
}

// Returns the first queue that is alive; if none is, the first.
WorkQueue& DsaPageScanner::chosen_queue() const {
    const auto queue =
        std::ranges::find_if(queues_, [](const WorkQueue* each) { return each->alive(); });
    return queue == queues_.end() ? *queues_.front() : **queue;
}

void DsaPageScanner::submit(std::span<const PageExtent> batch) {
    batches_[(oldest_ + waiting_) % kDepth]->fill(batch, chosen_queue());
    ++waiting_;
    offer_waiting();
}

// Offers each batch once, the oldest first; descriptors for which a queue has no room wait here.
void DsaPageScanner::offer_waiting() {
    for (std::size_t i = 0; i < waiting_; ++i) {
        Batch& batch = *batches_[(oldest_ + i) % kDepth];
        if (!batch.submit(completion_, options_.timeout)) return;
    }
}

void DsaPageScanner::submit_all(Batch& batch) {
    static const std::atomic<std::uint8_t> never_written{0};
    WorkQueue& queue = batch.queue();
    std::uint32_t offers = 0;
    while (!batch.submit(completion_, options_.timeout)) {
        if (batch.advance(completion_)) {
            offers = 0;
        } else if (!queue.alive() || !queue.has_flow() || ++offers == kMaxOffers) {
            queue.set_flow(false);
            batch.give_up_submitting();
            return;
        } else {
            completion_.time().pass(never_written, offers);
        }
    }
    queue.set_flow(true);
}

Status DsaPageScanner::await() {
    Batch& batch = *batches_[oldest_];
    submit_all(batch);
    batch.await(completion_);
    if (!batch.lost()) return {};
    batch.queue().lost_memory();
    return batch.renew();
}

Status DsaPageScanner::collect(std::span<std::uint64_t> zero_map) {
    Batch& batch = *batches_[oldest_];
    const std::uint64_t wrong = batch.collect(kernel_.is_zero, zero_map);
    oldest_ = (oldest_ + 1) % kDepth;
    --waiting_;
    if (wrong == batch.pages()) return batch.check_verified();
    batch.queue().disable("gave a wrong answer (accel-verify)");
    return make_error(
        "{} reported that a page is {} zero, but the CPU found the opposite (accel-verify): do not "
        "use this device; its earlier answers may be wrong, too",
        batch.queue().name(), (zero_map[wrong / 64] >> (wrong % 64) & 1) != 0 ? "all" : "not all");
}

}  // namespace migrate::accel::dsa
