// SPDX-License-Identifier: Apache-2.0
// Computes the page that a vCPU writes with its n-th write. Invariant: the page follows only from
// the spec, the vCPU's number and n, not from earlier writes. A backward walk from the newest write
// therefore finds the last write of every page, however long the guest has run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/splitmix64.hpp"
#include "guest/workload_spec.hpp"

namespace migrate::guest {

// The pages of one vCPU are called slots and numbered [0, slots()).
class WriteSequence {
  public:
    WriteSequence(const WorkloadSpec& spec, unsigned vcpu)
        : pattern_(spec.pattern),
          vcpus_(spec.threads),
          vcpu_(vcpu),
          slots_((spec.working_set_pages() - vcpu + spec.threads - 1) / spec.threads),
          hot_slots_(std::max<std::uint64_t>(1, slots_ / 10)),
          key_(splitmix64(splitmix64(spec.seed) ^ vcpu)) {}

    std::uint64_t slots() const { return slots_; }
    std::uint64_t page(std::uint64_t slot) const { return slot * vcpus_ + vcpu_; }
    // `write` ≥ 1
    std::uint64_t slot(std::uint64_t write) const {
        if (pattern_ == Pattern::kSequential) return (write - 1) % slots_;
        const std::uint64_t random = splitmix64(key_ + write * kGamma);
        if (pattern_ == Pattern::kUniform || slots_ == hot_slots_) return scale(random, slots_);
        // The low bits choose the hot or the cold part, the high bits the slot in it.
        if ((random & 0xFFFF) < kHotShare) return scale(random, hot_slots_);
        return hot_slots_ + scale(random, slots_ - hot_slots_);
    }

  private:
    static constexpr std::uint64_t kHotShare = 0x10000 * 9 / 10;
    // Odd; with splitmix64's own increment one vCPU's sequence would be a shifted copy of
    // another's.
    static constexpr std::uint64_t kGamma = 0xD1342543DE82EF95U;

    // Maps [0, 2^64) to [0, limit) by the high half of the product.
    static std::uint64_t scale(std::uint64_t random, std::uint64_t limit) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>(static_cast<Wide>(random) * limit >> 64U);
    }

    Pattern pattern_;
    std::uint64_t vcpus_;
    std::uint64_t vcpu_;
    std::uint64_t slots_;
    std::uint64_t hot_slots_;
    std::uint64_t key_;
};

// Sets last[slot] to the number of the last of the vCPU's `writes` writes that went to that slot.
// `last` has one element per slot, all 0; an element stays 0 if no write went there. Takes about
// slots × ln(slots) steps (ten times that for a hot spot), or `writes` steps if that is fewer.
inline void replay(const WriteSequence& sequence, std::uint64_t writes,
                   std::span<std::uint64_t> last) {
    std::uint64_t missing = last.size();
    for (std::uint64_t write = writes; write > 0 && missing > 0; --write) {
        std::uint64_t& entry = last[sequence.slot(write)];
        if (entry != 0) continue;
        entry = write;
        --missing;
    }
}

}  // namespace migrate::guest
