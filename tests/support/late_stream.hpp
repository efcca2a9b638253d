// SPDX-License-Identifier: Apache-2.0
// A connection whose kernel reads memory that is sent without a copy as late as it may: when its
// completions are asked for. So a test can change the memory in between.
#pragma once

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "transport/stream.hpp"

namespace migrate::transport {

// The kernel of one connection, as the test wants it.
class LateKernel {
  public:
    explicit LateKernel(int fd) : fd_(fd) {}

    int allow_error = 0;    // errno of SO_ZEROCOPY
    int refusals = 0;       // sends without a copy that fail with ENOBUFS from now on
    bool copies = false;    // completions say that the kernel copied
    bool forgets = false;   // completions never come
    bool ends = false;      // a wait finds that the connection has ended
    unsigned in_place = 0;  // sends without a copy
    std::uint32_t next_id = 0;

    std::size_t send(std::span<const iovec> parts, bool in_place_send) {
        std::size_t size = 0;
        for (const iovec& part : parts) {
            if (part.iov_len == 0) continue;
            size += part.iov_len;
            const auto* bytes = static_cast<const std::byte*>(part.iov_base);
            if (in_place_send) {
                waiting_.push_back({part, {}});
            } else {
                waiting_.push_back({{}, {bytes, bytes + part.iov_len}});
            }
        }
        if (in_place_send) {
            ++in_place;
            ++unreported_;
        } else if (unreported_ == 0) {
            deliver();
        }
        return size;
    }
    // Reads the memory and sends it.
    void deliver() {
        for (const Piece& piece : waiting_) {
            const void* from = piece.copy.empty() ? piece.memory.iov_base : piece.copy.data();
            const std::size_t size = piece.copy.empty() ? piece.memory.iov_len : piece.copy.size();
            static_cast<void>(!::send(fd_, from, size, MSG_NOSIGNAL));
        }
        waiting_.clear();
        if (unreported_ != 0 && !forgets) {
            report(next_id, next_id + unreported_ - 1);
            next_id += unreported_;
        }
        unreported_ = 0;
    }
    // The completion of the sends `first` to `last`.
    void report(std::uint32_t first, std::uint32_t last) { completions_.push_back({first, last}); }

    ssize_t take_completion(msghdr& message) {
        if (completions_.empty()) {
            errno = EAGAIN;
            return -1;
        }
        sock_extended_err error{};
        error.ee_origin = SO_EE_ORIGIN_ZEROCOPY;
        error.ee_code = copies ? SO_EE_CODE_ZEROCOPY_COPIED : 0;
        error.ee_info = completions_.front().first;
        error.ee_data = completions_.front().second;
        completions_.pop_front();
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_IP;
        header->cmsg_type = IP_RECVERR;
        header->cmsg_len = CMSG_LEN(sizeof error);
        std::memcpy(CMSG_DATA(header), &error, sizeof error);
        message.msg_controllen = CMSG_SPACE(sizeof error);
        return 0;
    }
    bool has_completions() const { return !completions_.empty(); }

  private:
    struct Piece {
        iovec memory{};
        std::vector<std::byte> copy;
    };

    int fd_;
    std::vector<Piece> waiting_;
    std::uint32_t unreported_ = 0;
    std::deque<std::pair<std::uint32_t, std::uint32_t>> completions_;
};

class LateCalls final : public ZeroCopyCalls {
  public:
    explicit LateCalls(std::shared_ptr<LateKernel> kernel) : kernel_(std::move(kernel)) {}

    int allow() override {
        errno = kernel_->allow_error;
        return errno == 0 ? 0 : -1;
    }
    ssize_t send(const msghdr& message, int flags) override {
        const bool in_place = (flags & MSG_ZEROCOPY) != 0;
        if (in_place && kernel_->refusals > 0) {
            --kernel_->refusals;
            errno = ENOBUFS;
            return -1;
        }
        return static_cast<ssize_t>(kernel_->send({message.msg_iov, message.msg_iovlen}, in_place));
    }
    ssize_t take_completion(msghdr& message) override { return kernel_->take_completion(message); }
    Waited wait(WaitClock::time_point until) override {
        if (kernel_->ends) return Waited::kEnded;
        kernel_->deliver();
        if (kernel_->has_completions()) return Waited::kCompletion;
        wait_for_any({}, until);
        return Waited::kTimeout;
    }

  private:
    std::shared_ptr<LateKernel> kernel_;
};

// A plain stream whose sends go through a LateKernel.
class LateStream final : public Stream {
  public:
    LateStream(int fd, const std::shared_ptr<LateKernel>& kernel)
        : plain_(make_plain_stream(fd)),
          kernel_(kernel),
          zero_copy_(std::make_unique<LateCalls>(kernel)) {}

    Moved send(std::span<const iovec> parts, Mode) override {
        return std::optional(kernel_->send(parts, false));
    }
    Moved receive(std::span<const iovec> parts, Mode mode) override {
        return plain_->receive(parts, mode);
    }
    Moved discard(std::uint64_t bytes) override { return plain_->discard(bytes); }
    bool has_buffered_input() const override { return plain_->has_buffered_input(); }
    void finish_sending() override { plain_->finish_sending(); }
    ZeroCopySender* zero_copy() override { return &zero_copy_; }

  private:
    std::unique_ptr<Stream> plain_;
    std::shared_ptr<LateKernel> kernel_;
    ZeroCopySender zero_copy_;
};

}  // namespace migrate::transport
