// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/credential_files.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.hpp"
#include "base/file_kind.hpp"
#include "base/units.hpp"

namespace migrate::transport {
namespace {

constexpr std::size_t kLargestFile = kMiB;

std::int64_t nanoseconds(const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp stamp_from(const std::string& path, const struct stat& status) {
    return {.path = path,
            .exists = true,
            .device = status.st_dev,
            .inode = status.st_ino,
            .size = status.st_size,
            .modified_ns = nanoseconds(status.st_mtim),
            .changed_ns = nanoseconds(status.st_ctim)};
}

Error unusable(const std::string& path, std::string_view why) {
    return make_error(ErrorKind::kUsage, "{} {}", path, why);
}

Status check(const std::string& path, FileUse use, const struct stat& status) {
    if (!S_ISREG(status.st_mode)) {
        return unusable(path, fmt::format("is {}, not a file", file_kind(status.st_mode)));
    }
    if (status.st_size == 0) return unusable(path, "is empty");
    constexpr mode_t kOthers = S_IRWXO;
    if (use == FileUse::kSecret && (status.st_mode & kOthers) != 0) {
        return unusable(path, fmt::format("holds a key, and every user of this host may use it "
                                          "(mode {:04o}): make it private with chmod 0600",
                                          status.st_mode & 07777U));
    }
    return {};
}

Result<SecretText> read_all(int fd, const std::string& path) {
    // Reserved at once: a text that grows would leave copies behind.
    std::string text;
    text.reserve(kLargestFile + 1);
    std::array<char, 4096> buffer{};
    while (text.size() <= kLargestFile) {
        const ssize_t size = ::read(fd, buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0)
            return Error::system(fmt::format("read {}", path), errno).as(ErrorKind::kUsage);
        if (size == 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(size));
    }
    OPENSSL_cleanse(buffer.data(), buffer.size());
    SecretText secret(std::move(text));
    if (secret.view().size() > kLargestFile) return unusable(path, "is larger than 1 MiB");
    return secret;
}

}  // namespace

SecretText& SecretText::operator=(SecretText&& other) noexcept {
    if (this != &other) {
        erase();
        text_ = std::move(other.text_);
        other.erase();
    }
    return *this;
}

void SecretText::erase() {
    OPENSSL_cleanse(text_.data(), text_.size());
    text_.clear();
}

FileStamp stamp_of(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return {.path = path};
    return stamp_from(path, status);
}

Result<SecretText> read_credential_file(const std::string& path, FileUse use,
                                        std::vector<FileStamp>& stamps) {
    // O_NONBLOCK: opening a FIFO must not wait.
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0) {
        if (errno == ENOENT && use == FileUse::kOptional) {
            stamps.push_back({.path = path});
            return SecretText();
        }
        return Error::system(fmt::format("open {}", path), errno).as(ErrorKind::kUsage);
    }
    MIGRATE_TRY(check(path, use, status));
    stamps.push_back(stamp_from(path, status));
    return read_all(file.get(), path);
}

}  // namespace migrate::transport
