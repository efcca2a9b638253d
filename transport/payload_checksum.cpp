#include "transport/payload_checksum.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/little_endian.hpp"
#include "transport/protocol_error.hpp"

// Does the same as XXH3_64bits_update(), with the widest vector instructions of this CPU. Declared
// in xxh_x86dispatch.h. Null if the library was built without it.
extern "C" __attribute__((weak)) XXH_errorcode XXH3_64bits_update_dispatch(XXH3_state_t* state,
                                                                           const void* input,
                                                                           size_t length);

namespace migrate::transport {
namespace {

// Copied at a time: the copy is still in the nearest cache when it is hashed.
constexpr std::size_t kCopiedAtOnce = std::size_t{8} * 1024;

void update(XXH3_state_t* state, const void* bytes, std::size_t size) {
    if (XXH3_64bits_update_dispatch != nullptr) {
        XXH3_64bits_update_dispatch(state, bytes, size);
    } else {
        XXH3_64bits_update(state, bytes, size);
    }
}

}  // namespace

PayloadChecksum::PayloadChecksum() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    restart();
    // The library chooses its instructions in its first call, which no other call may overlap.
    static const bool chosen = [this] {
        update(state_.get(), "", 0);
        return true;
    }();
    static_cast<void>(chosen);
}

void PayloadChecksum::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

void PayloadChecksum::restart() { XXH3_64bits_reset(state_.get()); }

void PayloadChecksum::add(std::span<const std::byte> bytes) {
    update(state_.get(), bytes.data(), bytes.size());
}

void PayloadChecksum::add_copy(std::span<const std::byte> from, std::byte* to) {
    while (!from.empty()) {
        const std::size_t size = std::min(from.size(), kCopiedAtOnce);
        std::memcpy(to, from.data(), size);
        update(state_.get(), to, size);
        from = from.subspan(size);
        to += size;
    }
}

PayloadChecksumBytes PayloadChecksum::finish(const PacketHeaderBytes& header) {
    add(std::span(header).last(sizeof(std::uint32_t)));
    return finish();
}

PayloadChecksumBytes PayloadChecksum::finish() const {
    PayloadChecksumBytes bytes{};
    store_le(bytes.data(), std::uint64_t{XXH3_64bits_digest(state_.get())});
    return bytes;
}

Status compare_checksums(const PayloadChecksumBytes& expected, const PayloadChecksumBytes& got) {
    if (expected == got) return {};
    return protocol_error(
        "the content was damaged on the way: its checksum is wrong (packet-checksum)");
}

}  // namespace migrate::transport
