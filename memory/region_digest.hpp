// SPDX-License-Identifier: Apache-2.0
// Computes digests of whole regions with several threads; skips pages that were never populated.
#pragma once

#include <span>
#include <stop_token>
#include <vector>

#include "memory/digest.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

// One digest per region, in order. `threads` ≥ 1. Ends early with kCancelled when stop is
// requested.
Result<std::vector<Digest>> digest_source(const PageSource& source, unsigned threads,
                                          std::stop_token stop);
// Does the same for a sink's memory; `regions` as given to prepare(). Pages that were never
// populated in the sink's own backing (holes, untouched memory) are skipped by the same means as in
// a source.
Result<std::vector<Digest>> digest_sink(const PageSink& sink, std::span<const RegionInfo> regions,
                                        unsigned threads, std::stop_token stop);

}  // namespace migrate::memory
