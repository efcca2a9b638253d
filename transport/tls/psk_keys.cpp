// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/psk_keys.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/join_words.hpp"
#include "base/log.hpp"
#include "base/replacement_file.hpp"
#include "transport/tls/openssl.hpp"

namespace migrate::transport {
namespace {

constexpr std::string_view kCommonIdentity = "qemu";
constexpr std::size_t kLongestIdentity = 128;
constexpr std::size_t kNewKeyBytes = 32;

int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

Result<SecretText> decode_hex(std::string_view hex) {
    if (hex.size() % 2 != 0) return Error("the key has an odd number of hex digits");
    std::string bytes;
    bytes.reserve(hex.size() / 2);
    SecretText erased;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        const int high = hex_value(hex[i]);
        const int low = hex_value(hex[i + 1]);
        if (high < 0 || low < 0) {
            erased = SecretText(std::move(bytes));
            return Error("the key is not hex digits");
        }
        bytes.push_back(static_cast<char>(high * 16 + low));
    }
    SecretText secret(std::move(bytes));
    if (secret.view().size() < kLeastKeyBytes || secret.view().size() > kMostKeyBytes) {
        return make_error("the key has {} bytes; expected {} to {} (32 are usual)",
                          secret.view().size(), kLeastKeyBytes, kMostKeyBytes);
    }
    return secret;
}

Result<PskKey> parse_line(std::string_view line) {
    // The last colon: an identity may contain some.
    const std::size_t colon = line.rfind(':');
    if (colon == std::string_view::npos) return Error("it is not IDENTITY:HEX");
    const std::string_view identity = line.substr(0, colon);
    if (identity.empty() || identity.size() > kLongestIdentity) {
        return make_error("the identity has {} characters; expected 1 to {}", identity.size(),
                          kLongestIdentity);
    }
    MIGRATE_ASSIGN(SecretText secret, decode_hex(line.substr(colon + 1)));
    return PskKey{std::string(identity), std::move(secret)};
}

std::string_view take_line(std::string_view& text) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    return line;
}

Result<SecretText> make_line(std::string_view identity) {
    std::array<unsigned char, kNewKeyBytes> key{};
    forget_openssl_errors();
    if (RAND_priv_bytes(key.data(), key.size()) != 1) {
        return make_error("cannot make a random key: {}", take_openssl_reason());
    }
    std::string line;
    line.reserve(identity.size() + 2 * key.size() + 2);
    line += identity;
    line += ':';
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (const unsigned char byte : key) {
        line += kDigits[byte / 16];
        line += kDigits[byte % 16];
    }
    line += '\n';
    OPENSSL_cleanse(key.data(), key.size());
    return SecretText(std::move(line));
}

// Creates the file under a hidden name, and removes that name.
Result<UniqueFd> create_hidden(const std::string& path, std::string_view content) {
    std::string hidden = path + ".migrate-XXXXXX";
    UniqueFd file(::mkostemp(hidden.data(), O_CLOEXEC));
    if (!file) {
        return Error::system(fmt::format("create {}", path), errno).as(ErrorKind::kUsage);
    }
    // mkostemp() creates with mode 0600, of which the umask may leave less.
    Status written = write_all(file.get(), content, path);
    // Unlike rename(), it fails if something has the name.
    if (written && ::link(hidden.c_str(), path.c_str()) != 0) {
        written = errno == EEXIST ? make_error("{} exists: remove it, or name a new file", path)
                                  : Error::system(fmt::format("create {}", path), errno);
    }
    ::unlink(hidden.c_str());
    if (!written) return std::move(written).error().as(ErrorKind::kUsage);
    return file;
}

}  // namespace

Result<PskKeys> parse_psk_keys(std::string_view text, const std::string& path) {
    PskKeys keys;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::string_view line = take_line(text);
        if (line.empty() || line.front() == '#') continue;
        auto key = parse_line(line);
        if (key && find_key(keys, key->identity) != nullptr) {
            key = make_error("the identity '{}' is there twice", key->identity);
        }
        if (!key) {
            return make_error(ErrorKind::kUsage, "{}, line {}: {}", path, number,
                              key.error().message());
        }
        keys.push_back(*std::move(key));
    }
    if (keys.empty()) {
        return make_error(ErrorKind::kUsage, "{} has no key: expected lines IDENTITY:HEX", path);
    }
    return keys;
}

const PskKey* find_key(const PskKeys& keys, std::string_view identity) {
    const auto found = std::find_if(keys.begin(), keys.end(), [identity](const PskKey& key) {
        return key.identity == identity;
    });
    return found == keys.end() ? nullptr : &*found;
}

Result<const PskKey*> choose_key(const PskKeys& keys, std::string_view identity,
                                 const std::string& path) {
    if (identity.empty() && keys.size() == 1) return &keys.front();
    const PskKey* key = find_key(keys, identity.empty() ? kCommonIdentity : identity);
    if (key != nullptr) return key;
    if (!identity.empty()) {
        return make_error(ErrorKind::kUsage, "{} has no key for the identity '{}'", path, identity);
    }
    std::vector<std::string> names;
    for (const PskKey& one : keys) names.push_back(one.identity);
    return make_error(ErrorKind::kUsage, "{} has several keys: choose one with identity={}", path,
                      join_words(names, "or"));
}

Result<OneTimeKey> OneTimeKey::create(const std::string& path, std::string_view identity) {
    MIGRATE_ASSIGN(SecretText line, make_line(identity));
    MIGRATE_ASSIGN(const UniqueFd file, create_hidden(path, line.view()));
    OneTimeKey key(path, std::move(line));
    MIGRATE_ASSIGN(key.file_, identify(file.get()));
    return key;
}

OneTimeKey::OneTimeKey(OneTimeKey&& other) noexcept
    : path_(std::exchange(other.path_, {})), line_(std::move(other.line_)), file_(other.file_) {}

void OneTimeKey::remove() {
    if (path_.empty()) return;
    const std::string path = std::exchange(path_, {});
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return;
    if (FileIdentity{status.st_dev, status.st_ino} != file_) return;
    if (::unlink(path.c_str()) != 0) {
        log::warning("cannot remove the one-time key {}: remove it by hand", path);
    }
}

}  // namespace migrate::transport
