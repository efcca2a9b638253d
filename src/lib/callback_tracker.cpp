// SPDX-License-Identifier: Apache-2.0
#include "lib/callback_tracker.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace migrate::lib {
namespace {

constexpr unsigned kWordBits = 64;

// Sets the bits of one word, run by run; bits from `pages` on belong to no page and are ignored.
void add_word(std::uint64_t word, std::uint64_t first, memory::PageBitmap& dirty) {
    while (word != 0) {
        const auto from = static_cast<unsigned>(std::countr_zero(word));
        const auto count = static_cast<unsigned>(std::countr_one(word >> from));
        const std::uint64_t page = first + from;
        if (page >= dirty.pages()) return;
        dirty.set({page, std::min<std::uint64_t>(count, dirty.pages() - page)});
        if (from + count == kWordBits) return;
        word &= ~std::uint64_t{0} << (from + count);
    }
}

class CallbackTracker final : public memory::DirtyTracker {
  public:
    CallbackTracker(std::shared_ptr<const Callbacks> callbacks, std::span<const RegionInfo> regions)
        : callbacks_(std::move(callbacks)), regions_(regions) {}
    ~CallbackTracker() override { end(); }

    std::string_view name() const override { return "dirty-log"; }

    Status start() override {
        MIGRATE_TRY(call_back(*callbacks_, "dirty_start", [&](char* error) {
            return callbacks_->given.dirty_start(callbacks_->given.opaque, error);
        }));
        started_ = true;
        return {};
    }

    Status collect(std::span<memory::PageBitmap> dirty, const std::stop_token& stop) override {
        for (std::size_t region = 0; region < regions_.size(); ++region) {
            if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
            words_.assign((regions_[region].pages() + kWordBits - 1) / kWordBits, 0);
            MIGRATE_TRY(call_back(*callbacks_, "dirty_collect", [&](char* error) {
                return callbacks_->given.dirty_collect(callbacks_->given.opaque, region,
                                                       words_.data(), words_.size(), error);
            }));
            for (std::size_t i = 0; i < words_.size(); ++i) {
                add_word(words_[i], i * kWordBits, dirty[region]);
            }
        }
        return {};
    }

    void stop() override { end(); }

  private:
    void end() {
        if (!std::exchange(started_, false)) return;
        static_cast<void>(call_back(*callbacks_, "dirty_stop", [&](char*) {
            callbacks_->given.dirty_stop(callbacks_->given.opaque);
            return 0;
        }));
    }

    const std::shared_ptr<const Callbacks> callbacks_;
    const std::span<const RegionInfo> regions_;
    std::vector<std::uint64_t> words_;  // of one region; kept for reuse
    bool started_ = false;
};

}  // namespace

std::unique_ptr<memory::DirtyTracker> make_callback_tracker(
    std::shared_ptr<const Callbacks> callbacks, std::span<const RegionInfo> regions) {
    return std::make_unique<CallbackTracker>(std::move(callbacks), regions);
}

}  // namespace migrate::lib
