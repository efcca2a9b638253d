// SIGINT and SIGTERM as something to poll.
#pragma once

#include <chrono>
#include <csignal>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::cli {

// Invariant: created before any other thread, so that all threads block the signals and only the
// descriptor sees them.
class Signals {
  public:
    static Result<Signals> create();

    // Readable when a signal came.
    int fd() const { return fd_.get(); }
    // Waits for that long, or for ever; true if a signal came, which is not taken.
    Result<bool> came_within(std::optional<std::chrono::milliseconds> time) const;
    // Takes one signal and names it by a literal: "SIGINT".
    std::string_view take() const;

  private:
    explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}

    UniqueFd fd_;
};

}  // namespace migrate::cli
