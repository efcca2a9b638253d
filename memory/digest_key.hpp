// SPDX-License-Identifier: Apache-2.0
// The keyed digest by which two sides find the pages that both have: XXH3 with 128 bits, whose
// secret is drawn for one session. Who wrote a file before the session began cannot have made pages
// that have the digest of others.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "base/error.hpp"
#include "memory/digest.hpp"

namespace migrate::memory {

class DigestKey {
  public:
    static constexpr std::size_t kBytes = 192;  // XXH_SECRET_DEFAULT_SIZE
    using Bytes = std::array<std::byte, kBytes>;

    explicit DigestKey(const Bytes& bytes) : bytes_(bytes) {}
    // A new one at random.
    static Result<DigestKey> draw();

    const Bytes& bytes() const { return bytes_; }
    // The digest of one page's content. A page of zeros has one like any other.
    Digest of(const std::byte* page) const;

  private:
    Bytes bytes_;
};

}  // namespace migrate::memory
