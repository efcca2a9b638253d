#include "base/memory_reserve.hpp"

#include <sys/mman.h>

#include <atomic>
#include <new>

namespace migrate {
namespace {

std::atomic<void*> reserve{nullptr};
std::atomic<bool> spent{false};

// The new-handler: returns if the allocation should be tried again, else throws std::bad_alloc.
void give_reserve() {
    void* const memory = reserve.exchange(nullptr);
    if (memory == nullptr) throw std::bad_alloc();
    spent.store(true);
    // Given to the system, not to the heap: every thread's arena can grow from there.
    ::munmap(memory, kMemoryReserveBytes);
}

}  // namespace

void keep_memory_reserve() noexcept {
    std::set_new_handler(give_reserve);
    if (reserve.load() != nullptr) return;
    void* const memory = ::mmap(nullptr, kMemoryReserveBytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    void* none = nullptr;
    if (!reserve.compare_exchange_strong(none, memory)) {
        ::munmap(memory, kMemoryReserveBytes);
        return;
    }
    spent.store(false);
}

bool memory_reserve_spent() noexcept { return spent.load(std::memory_order_relaxed); }

}  // namespace migrate
