// SPDX-License-Identifier: Apache-2.0
// Compression of packet payloads, one packet at a time.
// Invariant: the compressor works on a copy that is taken once, so that memory that a guest changes
// meanwhile cannot make a stream that does not decompress; a payload that does not shrink is sent
// uncompressed.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/page_buffer.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// One per channel, used by one thread.
class Compressor {
  public:
    // `level`: for lz4 1 … 12 (3 and more is its HC variant), for zstd 0 … 20 (0: the library's
    // default). Buffers for packets of `packet_bytes` are allocated here.
    static Result<std::unique_ptr<Compressor>> create(Compression method, int level,
                                                      std::uint64_t packet_bytes);
    ~Compressor();
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;

    Compression method() const { return method_; }
    // Copies the payload into one buffer, which is valid until the next call.
    std::span<const std::byte> gather(std::span<const iovec> payload);
    // Returns the compressed form of the gathered payload, valid until the next call; empty if it
    // does not save at least an eighth. After packets that saved too little, some packets are not
    // tried at all (at most 15 in 16), and of the others a sample is tried first.
    Result<std::span<const std::byte>> compress();
    // Returns true if the next packet will be tried; otherwise it need not be gathered.
    bool worth_trying();
    // True if a sample of the packet is to be tried before the packet is gathered.
    bool needs_sample() const { return failures_in_a_row_ != 0; }
    // Copies a sample of the payload: kSamplePieces pieces of a page, evenly spread.
    void gather_sample(std::span<const iovec> payload);
    // Returns true if the sample shrinks by a sixteenth: the whole may shrink more, because it has
    // more that repeats. If not, the packet counts as one that saved too little.
    bool sample_shrinks();
    static constexpr std::size_t kSamplePieces = 8;

  private:
    struct Context;
    Compressor(Compression method, int level, std::uint64_t packet_bytes,
               std::unique_ptr<Context> context);

    // Compresses what was gathered; 0 if it does not fit into `room`.
    std::size_t shrink(std::size_t room);
    void count(bool shrank);

    Compression method_;
    int level_;
    PageBuffer gathered_;
    std::size_t gathered_bytes_ = 0;
    PageBuffer compressed_;
    std::unique_ptr<Context> context_;
    unsigned failures_in_a_row_ = 0;
    unsigned skip_ = 0;  // packets that will still be sent untried
};

// One per channel, used by one thread.
class Decompressor {
  public:
    static Result<std::unique_ptr<Decompressor>> create(Compression method);
    ~Decompressor();
    Decompressor(const Decompressor&) = delete;
    Decompressor& operator=(const Decompressor&) = delete;

    // Fills `to` exactly; otherwise kProtocol.
    Status decompress(std::span<const std::byte> from, std::span<std::byte> to);

  private:
    struct Context;
    Decompressor(Compression method, std::unique_ptr<Context> context);

    Compression method_;
    std::unique_ptr<Context> context_;
};

}  // namespace migrate::transport
