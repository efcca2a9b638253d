// SPDX-License-Identifier: Apache-2.0
#include "base/memory_reserve.hpp"

#include <sys/mman.h>

#include <atomic>
#include <new>
#include <utility>

namespace migrate {
namespace {

// The reserve; null if there is none; kBeingGiven while a thread returns it to the system.
std::atomic<void*> reserve{nullptr};
char being_given;
void* const kBeingGiven = &being_given;

std::atomic<bool> spent{false};
// The new-handler that a program with this code in a library had installed before; null: none.
std::atomic<std::new_handler> earlier_handler{nullptr};
// Number of released reserves, and its value when this thread last retried its allocation.
std::atomic<unsigned> given{0};
thread_local unsigned tried_again_at = 0;

// The new-handler: returns if the allocation should be tried again, else throws std::bad_alloc.
// Several threads may run out of memory at once: each may try again once after the reserve was
// given, whichever thread gave it.
void give_reserve() {
    void* memory = reserve.load();
    while (memory != nullptr) {
        if (memory == kBeingGiven) {
            reserve.wait(memory);  // for a munmap()
            memory = reserve.load();
        } else if (reserve.compare_exchange_weak(memory, kBeingGiven)) {
            // Given to the system, not to the heap: every thread's arena can grow from there.
            ::munmap(memory, kMemoryReserveBytes);
            spent.store(true);
            given.fetch_add(1);
            reserve.store(nullptr);
            reserve.notify_all();
            break;
        }
    }
    const unsigned now = given.load();
    if (now != std::exchange(tried_again_at, now)) return;
    const std::new_handler earlier = earlier_handler.load();
    if (earlier == nullptr) throw std::bad_alloc();
    earlier();
}

}  // namespace

void keep_memory_reserve() noexcept {
    const std::new_handler earlier = std::set_new_handler(give_reserve);
    if (earlier != give_reserve) earlier_handler.store(earlier);
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

unsigned memory_reserves_given() noexcept { return given.load(); }

}  // namespace migrate
