// SPDX-License-Identifier: Apache-2.0
// The sandbox of a receiver: it gives up the rights that it does not need, so that a sender that
// takes it over by a fault in it can neither start programs nor write other files nor open other
// connections. Invariant: nothing widens it again, and it holds for all threads of the process.
#pragma once

#include <string>
#include <utility>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/syscall_filter.hpp"

namespace migrate::cli {

class Sandbox {
  public:
    // First step, before any other thread starts: restricts files and programs by Landlock, if the
    // kernel has it. Does nothing with sandbox=off. kUsage names the remedy.
    static Result<Sandbox> begin(const Settings& settings);

    // Second step, once the sink is open, the receiver listens and its QMP socket exists: forbids
    // system calls by seccomp. kUsage names the remedy.
    Status complete() const;

    // The means that confine this process once complete() succeeded: "seccomp and Landlock", and if
    // Landlock is missing the reason; "off".
    const std::string& text() const { return text_; }

  private:
    Sandbox(SyscallNeeds needs, std::string text) : needs_(needs), text_(std::move(text)) {}

    SyscallNeeds needs_;
    std::string text_;
    bool on_ = false;
};

}  // namespace migrate::cli
