// SPDX-License-Identifier: Apache-2.0
// The progress of one descriptor through memory, a piece at a time. Invariant: it stops permanently
// at the first fault, and counts only what was done completely before.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/softdsa/operations.hpp"
#include "accel/softdsa/user_memory.hpp"

namespace migrate::accel::softdsa {

inline constexpr std::size_t kChunkBytes = std::size_t{64} << 10U;

class Transfer {
  public:
    // Injects a page fault at byte `fault_at` of the transfer if that is below its size.
    Transfer(const dsa::Descriptor& descriptor, std::uint64_t fault_at)
        : descriptor_(descriptor),
          blocks_on_fault_((descriptor.flags() & dsa::kFlagBlockOnFault) != 0),
          fault_at_(fault_at) {}

    // Returns the size of the next chunk; 0 if done or stopped. An injected fault at the chunk's
    // start is reported at `address` + done().
    std::size_t next(std::uint64_t address, bool is_write) {
        if (stopped_) return 0;
        if (done_ == fault_at_ && done_ < descriptor_.size) fault(address + done_, is_write);
        const std::uint64_t left = std::min<std::uint64_t>(descriptor_.size, fault_at_) - done_;
        return stopped_ ? 0 : std::min<std::size_t>(left, kChunkBytes);
    }
    // Begins the next block of `bytes`, which is done completely or not at all; returns false if
    // the transfer has stopped. An injected fault in the block is reported at `address` + its byte.
    bool next_block(std::uint64_t address, std::size_t bytes) {
        if (!stopped_ && fault_at_ < done_ + bytes) fault(address + fault_at_, false);
        return !stopped_;
    }
    std::uint64_t done() const { return done_; }
    bool stopped() const { return stopped_; }
    void advance(std::size_t bytes) { done_ += bytes; }

    // Returns the bytes copied; if fewer than `bytes`, the transfer stops at the next byte.
    std::size_t load(std::uint64_t address, std::byte* to, std::size_t bytes) {
        const std::size_t present = accessible(address, bytes);
        const std::size_t copied = user_memory::read(address, to, present);
        if (copied < bytes) fault(address + copied, false);
        return copied;
    }
    std::size_t store(std::uint64_t address, const std::byte* from, std::size_t bytes) {
        std::size_t present = accessible(address, bytes);
        if (!blocks_on_fault_) present = user_memory::writable(address, present);
        const std::size_t copied = user_memory::write(address, from, present);
        if (copied < bytes) fault(address + copied, true);
        return copied;
    }

    // Writes pieces of one page, by address. Returns how many were written; if not all, the
    // transfer stops.
    std::size_t store_in_page(std::span<const user_memory::Piece> pieces) {
        if (pieces.empty()) return 0;
        const std::uint64_t begin = pieces.front().address;
        const std::uint64_t bytes = pieces.back().address + pieces.back().bytes - begin;
        const bool present = blocks_on_fault_ || (user_memory::resident(begin, bytes) == bytes &&
                                                  user_memory::writable(begin, bytes) == bytes);
        const std::size_t written = present ? user_memory::write_pieces(pieces) : 0;
        if (written < pieces.size()) fault(pieces[written].address, true);
        return written;
    }

    Outcome outcome() const {
        Outcome result = fault_;
        if (stopped_) result.bytes_completed = static_cast<std::uint32_t>(done_);
        result.transferred = done_;
        return result;
    }

  private:
    std::size_t accessible(std::uint64_t address, std::size_t bytes) const {
        return blocks_on_fault_ ? bytes : user_memory::resident(address, bytes);
    }
    // The last fault counts: it is the one at the lowest byte, because later bytes are not tried.
    void fault(std::uint64_t address, bool is_write) {
        stopped_ = true;
        fault_ = outcome_of(blocks_on_fault_ ? dsa::CompletionStatus::kPageResponseError
                                             : dsa::CompletionStatus::kPageFault);
        if (is_write) fault_.status |= dsa::kStatusWriteFault;
        fault_.fault_address = address - address % user_memory::kPageBytes;
    }

    const dsa::Descriptor& descriptor_;
    bool blocks_on_fault_;
    std::uint64_t fault_at_;
    std::uint64_t done_ = 0;
    bool stopped_ = false;
    Outcome fault_;
};

}  // namespace migrate::accel::softdsa
