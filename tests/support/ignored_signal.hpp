// SPDX-License-Identifier: Apache-2.0
// Ignores a signal for a while.
#pragma once

#include <csignal>

namespace migrate {

// While it lives, this process and the children that it starts ignore the signal.
class IgnoredSignal {
  public:
    explicit IgnoredSignal(int number) : number_(number), before_(std::signal(number, SIG_IGN)) {}
    ~IgnoredSignal() { static_cast<void>(std::signal(number_, before_)); }
    IgnoredSignal(const IgnoredSignal&) = delete;
    IgnoredSignal& operator=(const IgnoredSignal&) = delete;

  private:
    int number_;
    void (*before_)(int);
};

}  // namespace migrate
