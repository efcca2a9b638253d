// SPDX-License-Identifier: Apache-2.0
// Lists of parts that are sent one after the other, and a position in such a list.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

namespace migrate::transport {

// iovec has no const: these bytes are only read.
inline iovec part_of(std::span<const std::byte> bytes) {
    return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}
inline std::span<const std::byte> bytes_of(const iovec& part) {
    return {static_cast<const std::byte*>(part.iov_base), part.iov_len};
}

class PartsCursor {
  public:
    explicit PartsCursor(std::span<const iovec> parts) : parts_(parts) {
        for (const iovec& part : parts) left_ += part.iov_len;
    }

    // Bytes from the position to the end.
    std::size_t left() const { return left_; }
    // Copies as many bytes as are left and fit; returns their number. Does not move the position.
    std::size_t copy_to(std::span<std::byte> to) const {
        std::size_t copied = 0;
        std::size_t offset = offset_;
        for (std::size_t i = index_; i < parts_.size() && copied < to.size(); ++i) {
            const std::size_t size = std::min(parts_[i].iov_len - offset, to.size() - copied);
            std::memcpy(to.data() + copied, static_cast<std::byte*>(parts_[i].iov_base) + offset,
                        size);
            copied += size;
            offset = 0;
        }
        return copied;
    }
    // Moves the position by at most left() bytes.
    void skip(std::size_t bytes) {
        left_ -= bytes;
        offset_ += bytes;
        while (index_ < parts_.size() && offset_ >= parts_[index_].iov_len) {
            offset_ -= parts_[index_].iov_len;
            ++index_;
        }
    }

  private:
    std::span<const iovec> parts_;
    std::size_t index_ = 0;   // of the present part
    std::size_t offset_ = 0;  // in it
    std::size_t left_ = 0;
};

}  // namespace migrate::transport
