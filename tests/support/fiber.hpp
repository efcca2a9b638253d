// SPDX-License-Identifier: Apache-2.0
// A function with a stack of its own, which runs in the thread that switches to it. A switch is a
// function call: unlike one between threads, it does not wait for the machine's scheduler.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "tests/support/thread_sanitizer.hpp"

#if defined(MIGRATE_UNDER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace migrate {

// The fibers of a thread, one of which is the thread itself, pass control to one another.
class Fiber {
  public:
    // The fiber that runs already: the thread.
    Fiber() {
#if defined(MIGRATE_UNDER_TSAN)
        of_tsan_ = __tsan_get_current_fiber();
#endif
    }
    // `body` begins with the first switch to this fiber. It never returns: at its end it switches
    // to another fiber, and none switches back.
    explicit Fiber(std::function<void()> body)
        : body_(std::move(body)), stack_(std::make_unique<std::byte[]>(kStackBytes)) {
        ::getcontext(&context_);
        context_.uc_stack.ss_sp = stack_.get();
        context_.uc_stack.ss_size = kStackBytes;
        // makecontext() passes numbers of 32 bits.
        const auto self = reinterpret_cast<std::uintptr_t>(this);
        ::makecontext(&context_, reinterpret_cast<void (*)()>(&Fiber::enter), 2,
                      static_cast<unsigned>(self >> 32U), static_cast<unsigned>(self));
#if defined(MIGRATE_UNDER_TSAN)
        of_tsan_ = __tsan_create_fiber(0);
#endif
    }
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;
    ~Fiber() {
#if defined(MIGRATE_UNDER_TSAN)
        if (stack_) __tsan_destroy_fiber(of_tsan_);
#endif
    }

    // Only the fiber that runs calls it.
    void switch_to(Fiber& next) {
#if defined(MIGRATE_UNDER_TSAN)
        __tsan_switch_to_fiber(next.of_tsan_, 0);
#endif
        ::swapcontext(&context_, &next.context_);
    }

  private:
    static constexpr std::size_t kStackBytes = std::size_t{256} << 10U;

    static void enter(unsigned high, unsigned low) {
        const auto self = static_cast<std::uintptr_t>(high) << 32U | low;
        reinterpret_cast<Fiber*>(self)->body_();
    }

    std::function<void()> body_;
    std::unique_ptr<std::byte[]> stack_;
    ucontext_t context_{};
#if defined(MIGRATE_UNDER_TSAN)
    void* of_tsan_ = nullptr;
#endif
};

}  // namespace migrate
