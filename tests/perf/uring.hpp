// SPDX-License-Identifier: Apache-2.0
// A small io_uring (io_uring(7)), for measurements only: the product does not use it.
#pragma once

#include <linux/io_uring.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::perf {

// Used by one thread.
class Uring {
  public:
    // The fields are those of io_uring_cqe.
    struct Completion {
        std::uint64_t user_data;
        std::int32_t res;
        std::uint32_t flags;
    };

    // `entries`: a power of two.
    static Result<Uring> create(unsigned entries);

    Status register_buffers(std::span<const iovec> buffers);
    Status register_file(int fd);
    // `ring`: page-aligned room for `entries` (a power of two) of io_uring_buf.
    Status register_buffer_ring(void* ring, unsigned entries, std::uint16_t group);

    // The next entry of the submission queue, cleared; at most `entries` before a submit().
    io_uring_sqe& next();
    // Submits the entries of next(), and waits for so many completions.
    Status submit(unsigned wait_for);
    // Takes a completion that has come.
    std::optional<Completion> take();

  private:
    Uring() = default;
    Status enter_rings(const io_uring_params& params);
    Status register_with(unsigned opcode, const void* argument, unsigned count);

    struct Unmap {
        std::size_t size;
        void operator()(std::byte* memory) const;
    };
    using Mapped = std::unique_ptr<std::byte, Unmap>;
    Result<Mapped> map(std::size_t size, std::uint64_t offset) const;

    UniqueFd fd_;
    Mapped rings_;
    Mapped entries_;
    unsigned* tail_ = nullptr;  // of the submission queue
    unsigned mask_ = 0;
    unsigned* array_ = nullptr;
    io_uring_sqe* sqes_ = nullptr;
    unsigned filled_ = 0;
    unsigned* cq_head_ = nullptr;
    unsigned* cq_tail_ = nullptr;
    unsigned cq_mask_ = 0;
    io_uring_cqe* cqes_ = nullptr;
};

}  // namespace migrate::perf
