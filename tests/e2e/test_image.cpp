// SPDX-License-Identifier: Apache-2.0
#include "e2e/test_image.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>

#include "catch.hpp"

namespace migrate::e2e {
namespace {

enum class Kind { kHole, kZero, kText, kRandom, kAlmostZero };

std::string page_of(Kind kind, std::mt19937_64& random) {
    std::string page(kPageSize, '\0');
    if (kind == Kind::kText) {
        const std::string words = "migration guest memory page " + std::to_string(random() % 1000);
        for (std::size_t i = 0; i < page.size(); ++i) page[i] = words[i % words.size()];
    } else if (kind == Kind::kRandom) {
        for (std::size_t i = 0; i < page.size(); i += 8) {
            const std::uint64_t value = random();
            std::memcpy(&page[i], &value, sizeof value);
        }
    } else if (kind == Kind::kAlmostZero) {
        const std::array<std::size_t, 3> places{0, kPageSize - 1, random() % kPageSize};
        page[places[random() % places.size()]] = static_cast<char>(1 + random() % 255);
    }
    return page;
}

UniqueFd open_file(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) FAIL("cannot open " << path);
    return file;
}

}  // namespace

std::string scratch_parent() {
    return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

ImagePages make_image(const std::string& path, std::uint64_t mib, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const std::uint64_t pages = mib * kMiB / kPageSize;
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(mib * kMiB)) != 0) FAIL(path);
    // Once each kind, then as it comes; content about a third, as in a guest that was booted.
    constexpr std::array kKinds{Kind::kHole,   Kind::kZero,       Kind::kText,
                                Kind::kRandom, Kind::kAlmostZero, Kind::kHole,
                                Kind::kZero,   Kind::kHole,       Kind::kZero};
    ImagePages counts;
    std::size_t runs = 0;
    for (std::uint64_t first = 0; first < pages; ++runs) {
        const Kind kind = kKinds[runs < kKinds.size() ? runs : random() % kKinds.size()];
        const std::uint64_t length = std::min(pages - first, std::uint64_t{1} << random() % 9);
        for (std::uint64_t page = first; page < first + length; ++page) {
            if (kind == Kind::kHole) continue;
            const std::string content = page_of(kind, random);
            const auto offset = static_cast<off_t>(page * kPageSize);
            if (::pwrite(file.get(), content.data(), content.size(), offset) != ssize_t{kPageSize})
                FAIL("cannot write " << path);
        }
        (kind == Kind::kHole   ? counts.hole
         : kind == Kind::kZero ? counts.zero
                               : counts.content) += length;
        first += length;
    }
    return counts;
}

const std::string& full_image() {
    struct Image {
        Image() {
            if (const char* given = std::getenv("MIGRATE_TEST_IMAGE"); given && *given) {
                path = given;
                return;
            }
            constexpr std::uint64_t kSeed = 512;
            folder = std::make_unique<TemporaryFolder>(scratch_parent());
            path = *folder / "guest.mem";
            std::fprintf(stderr, "MIGRATE_TEST_IMAGE is unset: 128 MiB generated, seed %llu\n",
                         static_cast<unsigned long long>(kSeed));
            make_image(path, 128, kSeed);
        }
        std::unique_ptr<TemporaryFolder> folder;
        std::string path;
    };
    static const Image image;
    return image.path;
}

bool same_content(const std::string& a, const std::string& b) {
    // Not through mappings: reading a hole of a tmpfs file there fills it.
    const UniqueFd first = open_file(a);
    const UniqueFd second = open_file(b);
    std::vector<char> left(kMiB);
    std::vector<char> right(kMiB);
    for (off_t offset = 0;; offset += static_cast<off_t>(kMiB)) {
        const ssize_t count = ::pread(first.get(), left.data(), left.size(), offset);
        if (count < 0) FAIL("cannot read " << a);
        if (::pread(second.get(), right.data(), right.size(), offset) != count) return false;
        if (std::memcmp(left.data(), right.data(), static_cast<std::size_t>(count)) != 0)
            return false;
        if (count < ssize_t{kMiB}) return true;
    }
}

}  // namespace migrate::e2e
