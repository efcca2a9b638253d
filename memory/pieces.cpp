// SPDX-License-Identifier: Apache-2.0
#include "memory/pieces.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "base/catching.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"

namespace migrate::memory {
namespace {

// The error of the first page that has one.
struct FirstError {
    explicit FirstError(std::uint64_t pages) : page(pages) {}

    Mutex mutex;
    std::optional<Error> error GUARDED_BY(mutex);
    std::uint64_t page GUARDED_BY(mutex);
};

}  // namespace

Status for_each_piece(std::string_view name, std::uint64_t pages, std::uint64_t piece_pages,
                      const std::function<Status(PageRange)>& work) {
    // relaxed: the counter only hands out pieces; the joins order the work's results
    std::atomic<std::uint64_t> next{0};
    FirstError first_error(pages);
    const auto run = [&](const std::stop_token&) -> Status {
        for (;;) {
            const std::uint64_t first = next.fetch_add(piece_pages, std::memory_order_relaxed);
            if (first >= pages) return {};
            Status status = catching(name, [&] {
                return work({first, std::min(piece_pages, pages - first)});
            });
            if (status) continue;
            // Pieces are handed out in order, so all pieces before this one have been started.
            next.store(pages, std::memory_order_relaxed);
            const MutexLock lock(first_error.mutex);
            if (first >= first_error.page) continue;
            first_error.page = first;
            first_error.error = std::move(status).error();
        }
    };
    {
        const std::uint64_t pieces = (pages + piece_pages - 1) / piece_pages;
        const std::uint64_t wanted = std::clamp(std::thread::hardware_concurrency(), 2U, 16U);
        const std::uint64_t helpers = std::min(wanted, std::max<std::uint64_t>(pieces, 1)) - 1;
        // Only pieces yield errors: if a helper cannot start, the other threads take its pieces.
        const auto working = start_helpers(std::string(name), static_cast<unsigned>(helpers), run,
                                           [](const Error&) {});
        static_cast<void>(run({}));
    }
    const MutexLock lock(first_error.mutex);
    if (first_error.error) return *std::move(first_error.error);
    return {};
}

}  // namespace migrate::memory
