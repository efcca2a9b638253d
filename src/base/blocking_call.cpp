// SPDX-License-Identifier: Apache-2.0
#include "base/blocking_call.hpp"

#include <atomic>

namespace migrate {
namespace {

std::atomic<bool> left_behind{false};

}  // namespace

bool calls_left_behind() { return left_behind.load(); }

namespace internal {
void note_call_left_behind() { left_behind.store(true); }
}  // namespace internal

}  // namespace migrate
