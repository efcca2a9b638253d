// SPDX-License-Identifier: Apache-2.0
// The tracker "hash", for every kernel and every memory: each collect() reads all populated memory
// and compares it, by XXH3-128, with what the destination holds. Invariant: a page that collect()
// did not report had, when it was read, the content that the destination holds.
//
// sent() is needed because hashes of guest memory alone lose writes. Example: a lock word is 0 when
// it is hashed, 1 while the page is sent, and 0 again at the next hash: the hashes are equal, and
// the destination has a 1. Between two hashes the kernel may copy any content into the socket, so
// no time at which guest memory is hashed helps, paused or not; only a hash of exactly the bytes
// that went out does. The sender therefore sends from a copy, and passes that copy to sent().
//
// With sent() no race is left. A page written after it was read either differs from the
// destination's content when the next collect() reads it, or has become equal to it, which is as
// good. A page that is read while it is written gives the hash of a mixture. It is reported unless
// the mixture equals the destination's content; in that case the write that makes it differ comes
// later.
//
// A comparison of 128 bits takes two contents for one with a probability of 2^-128. A guest that
// makes collisions on purpose (the hash is not cryptographic) damages only its own memory.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "memory/dirty/dirty_tracker.hpp"

namespace migrate::memory {

// Takes 16 bytes for each page that is sent and is not zero (4 MiB per GiB); uses as many threads
// as there are CPUs.
Result<std::unique_ptr<DirtyTracker>> make_hash_tracker(const PageSource& source);
DirtyTrackerSupport probe_hash();

}  // namespace migrate::memory
