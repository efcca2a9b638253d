// SPDX-License-Identifier: Apache-2.0
#include "transport/payload_checksum.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/little_endian.hpp"
#include "transport/parts_cursor.hpp"
#include "transport/protocol_error.hpp"

// Does the same as XXH3_64bits_update(), with the widest vector instructions of this CPU. Declared
// in xxh_x86dispatch.h. Null if the library was built without it.
extern "C" __attribute__((weak)) XXH_errorcode XXH3_64bits_update_dispatch(XXH3_state_t* state,
                                                                           const void* input,
                                                                           size_t length);

namespace migrate::transport {
namespace {

// Hashed at a time. Two such blocks fit into the nearest cache (32 KiB and more): one that is
// hashed, or the copy of it, and the next one, which arrives meanwhile.
constexpr std::size_t kBlock = std::size_t{8} * 1024;
constexpr std::size_t kCacheLine = 64;

// Asks for all cache lines of the block: the CPU itself looks ahead within a page only. Memory that
// cannot be read is not fetched.
void fetch_ahead(std::span<const std::byte> block) {
    for (std::size_t at = 0; at < block.size(); at += kCacheLine) {
        __builtin_prefetch(block.data() + at);
    }
}

// Calls `use` for all bytes in their order, in blocks. The next block is fetched meanwhile.
template <typename Use>
void for_each_block(std::span<const iovec> parts, Use use) {
    std::span<const std::byte> present;
    for (const iovec& part : parts) {
        for (std::size_t at = 0; at < part.iov_len; at += kBlock) {
            const auto next = bytes_of(part).subspan(at, std::min(part.iov_len - at, kBlock));
            fetch_ahead(next);
            if (!present.empty()) use(present);
            present = next;
        }
    }
    if (!present.empty()) use(present);
}

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

void PayloadChecksum::add(std::span<const iovec> parts) {
    for_each_block(parts, [this](std::span<const std::byte> block) { add(block); });
}

void PayloadChecksum::add_copy(std::span<const iovec> parts, std::byte* to) {
    for_each_block(parts, [this, &to](std::span<const std::byte> block) {
        std::memcpy(to, block.data(), block.size());
        update(state_.get(), to, block.size());
        to += block.size();
    });
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
