#include "memory/pieces.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/thread.hpp"

namespace migrate::memory {

Status for_each_piece(std::string_view name, std::uint64_t pages, std::uint64_t piece_pages,
                      const std::function<Status(PageRange)>& work) {
    // relaxed: it only hands out pieces; the joins order what is done with them
    std::atomic<std::uint64_t> next{0};
    std::mutex mutex;
    std::optional<Error> error;        // guarded by mutex
    std::uint64_t error_page = pages;  // guarded by mutex
    const auto run = [&] {
        for (;;) {
            const std::uint64_t first = next.fetch_add(piece_pages, std::memory_order_relaxed);
            if (first >= pages) return;
            Status status = work({first, std::min(piece_pages, pages - first)});
            if (status) continue;
            // Pieces go out in order: all that lie before this one have been begun.
            next.store(pages, std::memory_order_relaxed);
            const std::scoped_lock lock(mutex);
            if (first >= error_page) continue;
            error_page = first;
            error = std::move(status).error();
        }
    };
    {
        std::vector<std::jthread> threads;
        const std::uint64_t pieces = (pages + piece_pages - 1) / piece_pages;
        const std::uint64_t wanted = std::clamp(std::thread::hardware_concurrency(), 2U, 16U);
        for (std::uint64_t i = 0; i < std::min(wanted, pieces); ++i) {
            threads.emplace_back([&run, name, i] {
                name_this_thread(fmt::format("{}_{}", name, i));
                run();
            });
        }
    }
    if (error) return *std::move(error);
    return {};
}

}  // namespace migrate::memory
