// SPDX-License-Identifier: Apache-2.0
#include "transport/compressor.hpp"

#include <array>
#include <cstring>
#include <random>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/noise.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint64_t kPacket = 32 * kPageSize;

std::vector<std::byte> text_like(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>('a' + random() % 4);
    return bytes;
}

std::span<const std::byte> compress(Compressor& compressor, std::vector<std::byte>& content) {
    const iovec part{content.data(), content.size()};
    compressor.gather({&part, 1});
    return must(compressor.compress());
}

struct Method {
    Compression compression;
    int level;
};

const std::vector<Method> kMethods{{Compression::kLz4, 1},  {Compression::kLz4, 3},
                                   {Compression::kLz4, 12}, {Compression::kZstd, 0},
                                   {Compression::kZstd, 1}, {Compression::kZstd, 9}};

TEST_CASE("a compressed payload is restored, with every method and level") {
    for (const auto& [compression, level] : kMethods) {
        const auto compressor = must(Compressor::create(compression, level, kPacket));
        const auto decompressor = must(Decompressor::create(compression));
        CHECK(compressor->method() == compression);
        for (const std::size_t pages : {1U, 7U, 32U}) {
            auto content = text_like(pages * kPageSize, static_cast<unsigned>(pages));
            const auto small = compress(*compressor, content);
            REQUIRE_FALSE(small.empty());
            CHECK(small.size() <= content.size() / 8 * 7);
            std::vector<std::byte> back(content.size());
            must(decompressor->decompress(small, back));
            CHECK(back == content);
        }
    }
}

TEST_CASE("parts are gathered in order") {
    const auto compressor = must(Compressor::create(Compression::kLz4, 1, kPacket));
    auto first = text_like(kPageSize, 1);
    auto second = noise(2 * kPageSize, 2);
    const std::vector<iovec> parts{{second.data(), second.size()}, {first.data(), first.size()}};
    const auto whole = compressor->gather(parts);
    REQUIRE(whole.size() == 3 * kPageSize);
    CHECK(std::memcmp(whole.data(), second.data(), second.size()) == 0);
    CHECK(std::memcmp(whole.data() + second.size(), first.data(), first.size()) == 0);
}

TEST_CASE("a payload that does not shrink is sent uncompressed") {
    for (const auto& [compression, level] : kMethods) {
        const auto compressor = must(Compressor::create(compression, level, kPacket));
        auto content = noise(kPacket, 3);
        CHECK(compress(*compressor, content).empty());
    }
}

TEST_CASE("after packets that did not pay ever more are sent untried, at most 15 in 16") {
    const auto compressor = must(Compressor::create(Compression::kLz4, 1, kPacket));
    auto bad = noise(kPacket, 4);
    auto good = text_like(kPacket, 5);
    for (const int expected : {1, 3, 7, 15, 15, 15}) {
        REQUIRE(compressor->worth_trying());
        CHECK(compress(*compressor, bad).empty());
        for (int i = 0; i < expected; ++i) CHECK_FALSE(compressor->worth_trying());
    }
    CHECK(compressor->worth_trying());
    CHECK_FALSE(compress(*compressor, good).empty());
    CHECK(compressor->worth_trying());
}

TEST_CASE("after a packet that did not pay, a sample decides whether the next one is tried") {
    for (const auto& [compression, level] : kMethods) {
        const auto compressor = must(Compressor::create(compression, level, kPacket));
        CHECK_FALSE(compressor->needs_sample());
        auto bad = noise(kPacket, 6);
        auto good = text_like(kPacket, 7);
        const iovec bad_part{bad.data(), bad.size()};
        // In two parts, as runs of pages are.
        const std::array good_parts{iovec{good.data(), 5 * kPageSize},
                                    iovec{good.data() + 5 * kPageSize, 27 * kPageSize}};
        CHECK(compress(*compressor, bad).empty());
        REQUIRE(compressor->needs_sample());
        compressor->gather_sample({&bad_part, 1});
        CHECK_FALSE(compressor->sample_shrinks());
        for (int i = 0; i < 3; ++i) CHECK_FALSE(compressor->worth_trying());
        REQUIRE(compressor->worth_trying());
        compressor->gather_sample(good_parts);
        CHECK(compressor->sample_shrinks());
        CHECK_FALSE(compress(*compressor, good).empty());
        CHECK_FALSE(compressor->needs_sample());
    }
}

TEST_CASE("a sample of a payload of a single page is that page") {
    const auto compressor = must(Compressor::create(Compression::kLz4, 1, kPageSize));
    auto page = text_like(kPageSize, 8);
    const iovec part{page.data(), page.size()};
    compressor->gather_sample({&part, 1});
    CHECK(compressor->sample_shrinks());
    auto bad = noise(kPageSize, 9);
    const iovec bad_part{bad.data(), bad.size()};
    compressor->gather_sample({&bad_part, 1});
    CHECK_FALSE(compressor->sample_shrinks());
}

TEST_CASE("a payload cut at any byte or of another size does not decompress") {
    for (const Compression compression : {Compression::kLz4, Compression::kZstd}) {
        const auto compressor = must(Compressor::create(compression, 1, kPacket));
        const auto decompressor = must(Decompressor::create(compression));
        auto content = text_like(kPageSize, 6);
        const auto small = compress(*compressor, content);
        std::vector<std::byte> back(content.size());
        for (std::size_t size = 0; size < small.size(); ++size) {
            const Status status = decompressor->decompress(small.first(size), back);
            REQUIRE_FALSE(status);
            CHECK(status.error().kind() == ErrorKind::kProtocol);
        }
        std::vector<std::byte> shorter(content.size() - 1);
        CHECK_FALSE(decompressor->decompress(small, shorter));
        std::vector<std::byte> longer(content.size() + kPageSize);
        CHECK_FALSE(decompressor->decompress(small, longer));
        must(decompressor->decompress(small, back));
        CHECK(back == content);
    }
}

TEST_CASE("garbage does not decompress, and writes nothing beyond its room") {
    for (const Compression compression : {Compression::kLz4, Compression::kZstd}) {
        const auto decompressor = must(Decompressor::create(compression));
        for (unsigned seed = 0; seed < 200; ++seed) {
            const auto garbage = noise(1 + seed * 7, seed);
            std::vector<std::byte> back(kPageSize);
            const Status status = decompressor->decompress(garbage, back);
            REQUIRE_FALSE(status);
            CHECK(status.error().kind() == ErrorKind::kProtocol);
        }
    }
}

TEST_CASE("there is no compressor without a method") {
    CHECK_FALSE(Compressor::create(Compression::kNone, 1, kPacket));
}

}  // namespace
}  // namespace migrate::transport
