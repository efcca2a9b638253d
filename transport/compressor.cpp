// SPDX-License-Identifier: Apache-2.0
#include "transport/compressor.hpp"

#include <lz4.h>
#include <lz4hc.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "transport/parts_cursor.hpp"

namespace migrate::transport {
namespace {

// From this level on lz4 means its high-compression variant, as in the lz4 command.
constexpr int kLz4HcFrom = 3;
constexpr unsigned kMaxSkipShift = 4;

}  // namespace

struct Compressor::Context {
    std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> zstd{nullptr, &ZSTD_freeCCtx};
    std::vector<char> lz4_state;
};

Compressor::Compressor(Compression method, int level, std::uint64_t packet_bytes,
                       std::unique_ptr<Context> context)
    : method_(method),
      level_(level),
      gathered_(packet_bytes),
      // A result larger than 7/8 is not used, so it needs no room; that of a sample may be larger.
      compressed_(std::max(packet_bytes / 8 * 7, kSamplePieces * kPageSize)),
      context_(std::move(context)) {}

Compressor::~Compressor() = default;

Result<std::unique_ptr<Compressor>> Compressor::create(Compression method, int level,
                                                       std::uint64_t packet_bytes) {
    auto context = std::make_unique<Context>();
    if (method == Compression::kZstd) {
        context->zstd.reset(ZSTD_createCCtx());
        if (!context->zstd) return Error("zstd cannot allocate its compression context");
    } else if (method == Compression::kLz4) {
        const int size = level >= kLz4HcFrom ? LZ4_sizeofStateHC() : LZ4_sizeofState();
        context->lz4_state.resize(static_cast<std::size_t>(size));
    } else {
        return Error("no compression method was chosen");
    }
    return std::unique_ptr<Compressor>(
        new Compressor(method, level, packet_bytes, std::move(context)));
}

std::span<const std::byte> Compressor::gather(std::span<const iovec> payload) {
    gathered_bytes_ = 0;
    for (const iovec& part : payload) {
        std::memcpy(gathered_.data() + gathered_bytes_, part.iov_base, part.iov_len);
        gathered_bytes_ += part.iov_len;
    }
    return std::span(gathered_).first(gathered_bytes_);
}

bool Compressor::worth_trying() {
    if (skip_ == 0) return true;
    --skip_;
    return false;
}

void Compressor::gather_sample(std::span<const iovec> payload) {
    const PartsCursor whole(payload);
    const std::size_t stride = whole.left() / kSamplePieces;
    gathered_bytes_ = 0;
    for (std::size_t piece = 0; piece < kSamplePieces; ++piece) {
        PartsCursor cursor(payload);
        cursor.skip(piece * stride);
        const auto room =
            std::span(gathered_).subspan(gathered_bytes_, std::min(stride, kPageSize));
        gathered_bytes_ += cursor.copy_to(room);
    }
}

bool Compressor::sample_shrinks() {
    const bool shrinks = shrink(gathered_bytes_ / 16 * 15) != 0;
    if (!shrinks) count(false);
    return shrinks;
}

Result<std::span<const std::byte>> Compressor::compress() {
    const std::size_t size = shrink(gathered_bytes_ / 8 * 7);
    count(size != 0);
    return std::span<const std::byte>(compressed_).first(size);
}

std::size_t Compressor::shrink(std::size_t room) {
    if (method_ == Compression::kZstd) {
        const std::size_t result = ZSTD_compressCCtx(context_->zstd.get(), compressed_.data(), room,
                                                     gathered_.data(), gathered_bytes_, level_);
        return ZSTD_isError(result) != 0 ? 0 : result;  // in practice: did not fit
    }
    const auto* from = reinterpret_cast<const char*>(gathered_.data());
    auto* to = reinterpret_cast<char*>(compressed_.data());
    const int from_size = static_cast<int>(gathered_bytes_);
    const int to_size = static_cast<int>(room);
    const int result = level_ >= kLz4HcFrom
                           ? LZ4_compress_HC_extStateHC(context_->lz4_state.data(), from, to,
                                                        from_size, to_size, level_)
                           : LZ4_compress_fast_extState(context_->lz4_state.data(), from, to,
                                                        from_size, to_size, 1);
    return static_cast<std::size_t>(std::max(result, 0));
}

void Compressor::count(bool shrank) {
    failures_in_a_row_ = shrank ? 0 : std::min(failures_in_a_row_ + 1, kMaxSkipShift);
    skip_ = (1U << failures_in_a_row_) - 1;
}

struct Decompressor::Context {
    std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> zstd{nullptr, &ZSTD_freeDCtx};
};

Decompressor::Decompressor(Compression method, std::unique_ptr<Context> context)
    : method_(method), context_(std::move(context)) {}

Decompressor::~Decompressor() = default;

Result<std::unique_ptr<Decompressor>> Decompressor::create(Compression method) {
    auto context = std::make_unique<Context>();
    if (method == Compression::kZstd) {
        context->zstd.reset(ZSTD_createDCtx());
        if (!context->zstd) return Error("zstd cannot allocate its decompression context");
    }
    return std::unique_ptr<Decompressor>(new Decompressor(method, std::move(context)));
}

Status Decompressor::decompress(std::span<const std::byte> from, std::span<std::byte> to) {
    std::size_t size = 0;
    if (method_ == Compression::kZstd) {
        size = ZSTD_decompressDCtx(context_->zstd.get(), to.data(), to.size(), from.data(),
                                   from.size());
        if (ZSTD_isError(size) != 0) size = 0;
    } else {
        const int result = LZ4_decompress_safe(
            reinterpret_cast<const char*>(from.data()), reinterpret_cast<char*>(to.data()),
            static_cast<int>(from.size()), static_cast<int>(to.size()));
        size = static_cast<std::size_t>(std::max(result, 0));
    }
    if (size != to.size()) {
        return make_error(ErrorKind::kProtocol,
                          "the {} payload of {} bytes does not decompress to {} bytes",
                          name_of(method_), from.size(), to.size());
    }
    return {};
}

}  // namespace migrate::transport
