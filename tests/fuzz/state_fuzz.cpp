// SPDX-License-Identifier: Apache-2.0
// Drives what reads a workload's saved state, which is a peer's word: the decoder, and, where the
// state is of a guest as small as the memory here, the guest itself.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "guest/guest.hpp"
#include "guest/workload.hpp"

namespace {

using namespace migrate;
using namespace migrate::guest;

constexpr std::size_t kPages = 16;
constexpr unsigned kMostThreads = 4;  // that a run takes the time to start

void require(bool condition) {
    if (!condition) std::abort();
}

// Checks the promises of decode_state().
void check_state(const WorkloadState& state, std::string_view bytes) {
    const WorkloadSpec& spec = state.spec;
    require(bytes.size() <= kMaxStateBytes);
    require(encode_state(state) == bytes);
    require(spec.size_bytes != 0 && spec.size_bytes % kPageSize == 0);
    require(spec.working_set_bytes % kPageSize == 0 && spec.working_set_bytes <= spec.size_bytes);
    require(spec.threads >= 1 && spec.threads <= kMaxVcpus);
    require(spec.working_set_pages() >= spec.threads);
    require(spec.rate_mib_s <= kMaxRateMibS);
    require(spec.pattern <= Pattern::kHotSpot && spec.fill <= Fill::kNone);
    require(state.vcpus.size() == spec.threads);
    for (const VcpuState& vcpu : state.vcpus) require(vcpu.writes <= kMaxWrites);
}

// Memory with nothing before and behind it that may be touched.
class Memory {
  public:
    Memory() { std::memset(bytes_.get(), 0, size()); }
    static std::size_t size() { return kPages * kPageSize; }
    std::span<std::byte> span() { return {bytes_.get(), size()}; }

  private:
    struct Free {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    std::unique_ptr<std::byte, Free> bytes_{
        static_cast<std::byte*>(std::aligned_alloc(kPageSize, size()))};
};

// It pauses, is checked and is saved again, whatever its past is said to be.
void run_guest(std::string_view bytes) {
    Memory memory;
    const auto loaded = load_guest(kWorkloadKind, bytes, {memory.span()});
    require(static_cast<bool>(loaded));
    const Status untouched = (*loaded)->check();
    require(static_cast<bool>((*loaded)->resume()));
    require(static_cast<bool>((*loaded)->pause()));
    const auto saved = (*loaded)->save_state();
    require(saved && decode_state(*saved));
    // Writes by the guest make no wrong memory right but for the pages they went to, and no right
    // memory wrong.
    if (untouched) require(static_cast<bool>((*loaded)->check()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto state = decode_state(bytes);
    if (!state) return 0;
    check_state(*state, bytes);
    require(!load_guest(kWorkloadKind, bytes, {}));
    if (state->spec.size_bytes == Memory::size() && state->spec.threads <= kMostThreads) {
        run_guest(bytes);
    }
    return 0;
}
