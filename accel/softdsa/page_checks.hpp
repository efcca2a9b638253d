// SPDX-License-Identifier: Apache-2.0
// Executes descriptors that compare a page with a pattern, many with each system call. Invariant:
// the outcomes are those of Operator, which executes what is not done here.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "accel/softdsa/operations.hpp"
#include "accel/softdsa/user_memory.hpp"

namespace migrate::accel::softdsa {

// One engine uses it.
class PageChecks {
  public:
    PageChecks();

    // Executes the first descriptors of `list`, in order, as long as each is a COMPVAL within one
    // page that is resident; returns their outcomes, none if the first is not one.
    std::span<const Outcome> execute(std::span<const dsa::Descriptor> list,
                                     const QueueConfig& queue);

  private:
    std::size_t collect(std::span<const dsa::Descriptor> list, const QueueConfig& queue);
    std::size_t resident(std::size_t count) const;
    std::size_t compare_in_place(std::span<const dsa::Descriptor> list);
    std::size_t compare_copies(std::span<const dsa::Descriptor> list);
    void set_outcome(std::size_t i, std::size_t equal);

    std::array<user_memory::Piece, user_memory::kMostPieces> pieces_;
    std::array<Outcome, user_memory::kMostPieces> outcomes_;
    std::unique_ptr<std::byte[]> copies_;  // NOLINT(*-avoid-c-arrays)
};

}  // namespace migrate::accel::softdsa
