// The tracker "hash", for every kernel and every memory: each collect() reads all populated memory
// and compares it, by XXH3-128, with what the destination holds. Invariant: a page that collect()
// did not report had, when it was read, the content that the destination holds.
//
// Why it must be told what was sent: hashes of guest memory alone lose writes. A lock word is 0
// when it is hashed, 1 while the page is sent, 0 again when it is hashed next: the hashes are
// equal, and the destination has a 1. Between two hashes the kernel may copy any content into the
// socket, so no time at which guest memory could be hashed helps, paused or not; only a hash of the
// very bytes that went out does. The sender therefore sends from a copy, and hands that copy to
// sent().
//
// With it, no race is left: a page written after it was read differs from what the destination
// holds when the next collect() reads it, or has become equal to it, which is as good; and a page
// read while it is written gives the hash of a mixture, which is reported unless the mixture is
// what the destination holds, and then the write that made it differ comes later still.
//
// 128 bits: two contents are taken for one with a chance of 2^-128 a comparison. A guest that makes
// collisions on purpose (the hash is not cryptographic) spoils its own memory and nobody else's.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "memory/dirty_tracker.hpp"

namespace migrate::memory {

// Takes 16 bytes for each page that is sent and is not zero (4 MiB a GiB); works on as many threads
// as there are CPUs.
Result<std::unique_ptr<DirtyTracker>> make_hash_tracker(const PageSource& source);
DirtyTrackerSupport probe_hash();

}  // namespace migrate::memory
