#include "memory/pieces.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "base/catching.hpp"
#include "base/thread.hpp"

namespace migrate::memory {

Status for_each_piece(std::string_view name, std::uint64_t pages, std::uint64_t piece_pages,
                      const std::function<Status(PageRange)>& work) {
    // relaxed: the counter only hands out pieces; the joins order the work's results
    std::atomic<std::uint64_t> next{0};
    std::mutex mutex;
    std::optional<Error> error;        // guarded by mutex
    std::uint64_t error_page = pages;  // guarded by mutex
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
            const std::scoped_lock lock(mutex);
            if (first >= error_page) continue;
            error_page = first;
            error = std::move(status).error();
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
    if (error) return *std::move(error);
    return {};
}

}  // namespace migrate::memory
