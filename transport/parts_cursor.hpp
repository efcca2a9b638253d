// Lists of parts that are sent one after the other, and a position in such a list.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

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
    // Appends the next parts, of together at most `bytes`, to `to`, and moves the position behind
    // them.
    void take(std::size_t bytes, std::vector<iovec>& to) {
        bytes = std::min(bytes, left_);
        while (bytes != 0) {
            const iovec& part = parts_[index_];
            const std::size_t size = std::min(part.iov_len - offset_, bytes);
            if (size != 0) to.push_back({static_cast<std::byte*>(part.iov_base) + offset_, size});
            skip(size);
            bytes -= size;
        }
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
