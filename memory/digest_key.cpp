// SPDX-License-Identifier: Apache-2.0
#include "memory/digest_key.hpp"

#include <sys/random.h>
#include <xxhash.h>

#include <cerrno>

#include "base/units.hpp"

namespace migrate::memory {

static_assert(DigestKey::kBytes >= XXH3_SECRET_SIZE_MIN);

Result<DigestKey> DigestKey::draw() {
    Bytes bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        return Error::system("get random bytes for a key", errno);
    }
    return DigestKey(bytes);
}

Digest DigestKey::of(const std::byte* page) const {
    const XXH128_hash_t hash =
        XXH3_128bits_withSecret(page, kPageSize, bytes_.data(), bytes_.size());
    return {hash.low64, hash.high64};
}

}  // namespace migrate::memory
