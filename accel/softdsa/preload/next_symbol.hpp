// SPDX-License-Identifier: Apache-2.0
// The function that a hook replaces: the C library's, or a sanitizer's in between.
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace migrate::accel::softdsa::preload {

// Looked up at the first call, which may precede all constructors of this library.
template <typename Function>
class NextSymbol {
  public:
    explicit constexpr NextSymbol(const char* name) : name_(name) {}

    template <typename... Arguments>
    auto operator()(Arguments... arguments) {
        void* found = found_.load(std::memory_order_acquire);
        if (found == nullptr) {
            found = ::dlsym(RTLD_NEXT, name_);
            found_.store(found, std::memory_order_release);
        }
        return reinterpret_cast<Function*>(found)(arguments...);
    }

  private:
    const char* name_;
    std::atomic<void*> found_{nullptr};
};

}  // namespace migrate::accel::softdsa::preload
