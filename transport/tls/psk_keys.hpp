// SPDX-License-Identifier: Apache-2.0
// Pre-shared keys: a file with lines IDENTITY:HEX, as GnuTLS's psktool and QEMU use them.
// Invariant: no message contains a key.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/file_identity.hpp"
#include "transport/tls/credential_files.hpp"

namespace migrate::transport {

// Bytes of a key: fewer can be guessed, more are of no use.
inline constexpr std::size_t kLeastKeyBytes = 16;
inline constexpr std::size_t kMostKeyBytes = 64;

struct PskKey {
    std::string identity;
    SecretText secret;  // kLeastKeyBytes … kMostKeyBytes

    std::span<const unsigned char> bytes() const {
        const std::string_view text = secret.view();
        return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
    }
};

using PskKeys = std::vector<PskKey>;

// Reads the lines of `text`; blank lines and lines that begin with # are left out. kUsage names
// `path` and the number of a wrong line, and if there is no key or one identity twice.
Result<PskKeys> parse_psk_keys(std::string_view text, const std::string& path);

// Returns the key with this identity; null if there is none.
const PskKey* find_key(const PskKeys& keys, std::string_view identity);
// Returns the key that a client uses: that of `identity`, or if it is empty, the only one or that
// of "qemu". kUsage if that does not decide.
Result<const PskKey*> choose_key(const PskKeys& keys, std::string_view identity,
                                 const std::string& path);

// A file with a new random key for one session. Invariant: it has mode 0600 and its content from
// the moment at which it has its name, and replaces no file.
class OneTimeKey {
  public:
    // kUsage if something has the name already, or if the file cannot be created.
    static Result<OneTimeKey> create(const std::string& path, std::string_view identity);
    OneTimeKey(OneTimeKey&& other) noexcept;
    OneTimeKey& operator=(OneTimeKey&&) = delete;
    OneTimeKey(const OneTimeKey&) = delete;
    OneTimeKey& operator=(const OneTimeKey&) = delete;
    ~OneTimeKey() { remove(); }

    // The content of the file.
    std::string_view line() const { return line_.view(); }
    // Removes the file, unless another one has the name now. May be called again.
    void remove();

  private:
    OneTimeKey(std::string path, SecretText line)
        : path_(std::move(path)), line_(std::move(line)) {}

    std::string path_;  // empty: removed
    SecretText line_;
    FileIdentity file_;
};

}  // namespace migrate::transport
