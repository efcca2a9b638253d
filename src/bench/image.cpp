// SPDX-License-Identifier: Apache-2.0
#include "bench/image.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/fd.hpp"
#include "base/splitmix64.hpp"
#include "base/units.hpp"
#include "base/wait.hpp"

namespace migrate::bench {
namespace {

constexpr std::uint64_t kChunk = 4 * kMiB;
constexpr std::size_t kWords = kPageSize / sizeof(std::uint64_t);

// True if the page has content. Such pages are spread at random, so that runs have every length.
bool has_content(std::uint64_t page, unsigned percent) {
    return splitmix64(page ^ 0x5bd1e995U) % 100 < percent;
}

void fill_page(std::byte* to, std::uint64_t page, ImageSpec::Kind kind) {
    std::array<std::uint64_t, kWords> words{};
    for (std::size_t i = 0; i < kWords; ++i) {
        // In text, two words in eight are new; the others repeat a word of the page.
        const bool fresh = kind == ImageSpec::Kind::kMixed || i % 8 < 2;
        words[i] = splitmix64(page * kWords + (fresh ? i : 1)) | 1U;
    }
    std::memcpy(to, words.data(), sizeof words);
}

Status write_chunk(int fd, const std::vector<std::byte>& chunk, std::uint64_t bytes) {
    std::uint64_t done = 0;
    while (done < bytes) {
        const ssize_t written = ::write(fd, chunk.data() + done, bytes - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Error::system("write an image", errno);
        done += static_cast<std::uint64_t>(written);
    }
    return {};
}

}  // namespace

std::string ImageSpec::name() const {
    return fmt::format("{}-{}-{}.mem", kind == Kind::kMixed ? "mixed" : "text", percent, bytes);
}

ImageSpec image_spec(const std::string& source, std::uint64_t bytes) {
    const std::size_t colon = source.rfind(':');
    return {.kind = source.starts_with("image:text:") ? ImageSpec::Kind::kText
                                                      : ImageSpec::Kind::kMixed,
            .percent = static_cast<unsigned>(std::atoi(source.c_str() + colon + 1)),
            .bytes = bytes};
}

Status make_image(const ImageSpec& spec, const std::filesystem::path& path, int stop_fd) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return Error::system(fmt::format("create {}", path.string()), errno);
    std::vector<std::byte> chunk(kChunk);
    for (std::uint64_t at = 0; at < spec.bytes; at += kChunk) {
        if (readable_within(stop_fd, std::chrono::milliseconds(0))) {
            return make_error(ErrorKind::kCancelled, "interrupted");
        }
        std::fill(chunk.begin(), chunk.end(), std::byte{0});
        const std::uint64_t bytes = std::min(kChunk, spec.bytes - at);
        for (std::uint64_t offset = 0; offset < bytes; offset += kPageSize) {
            const std::uint64_t page = (at + offset) / kPageSize;
            if (has_content(page, spec.percent)) fill_page(chunk.data() + offset, page, spec.kind);
        }
        MIGRATE_TRY(write_chunk(fd.get(), chunk, bytes));
    }
    return {};
}

}  // namespace migrate::bench
