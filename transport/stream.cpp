// SPDX-License-Identifier: Apache-2.0
#include "transport/stream.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <utility>

#include "base/raw_syscall.hpp"
#include "transport/socket_calls.hpp"

namespace migrate::transport {
namespace {

class PlainStream final : public Stream {
  public:
    PlainStream(int fd, std::unique_ptr<ZeroCopyCalls> calls)
        : fd_(fd), zero_copy_(std::move(calls)) {}

    Moved send(std::span<const iovec> parts, Mode mode) override {
        const msghdr message = message_of(parts);
        const int flags = MSG_NOSIGNAL | (mode == Mode::kNow    ? MSG_DONTWAIT
                                          : mode == Mode::kMore ? MSG_MORE
                                                                : 0);
        return result_of_send(uninterrupted([&] { return ::sendmsg(fd_, &message, flags); }));
    }

    Moved receive(std::span<const iovec> parts, Mode mode) override {
        msghdr message = message_of(parts);
        const int flags = mode == Mode::kNow ? MSG_DONTWAIT : MSG_WAITALL;
        const ssize_t moved = uninterrupted([&] { return ::recvmsg(fd_, &message, flags); });
        if (moved < 0 && errno == EFAULT) {
            return Error::system("write to the sink's memory", errno).as(ErrorKind::kFault);
        }
        return result_of(moved, "receive from the peer");
    }

    Moved discard(std::uint64_t bytes) override {
        // MSG_TRUNC on TCP drops the bytes without copying them (tcp(7)). This uses the raw system
        // call, because the sanitizers' recv() assumes that the null buffer is written to.
        const ssize_t moved = uninterrupted([&] {
            return raw_syscall(SYS_recvfrom, fd_, nullptr, bytes, MSG_TRUNC | MSG_WAITALL, nullptr,
                               nullptr);
        });
        return result_of(moved, "receive from the peer");
    }

    bool has_buffered_input() const override { return false; }
    void finish_sending() override { ::shutdown(fd_, SHUT_WR); }
    ZeroCopySender* zero_copy() override { return &zero_copy_; }

  private:
    int fd_;
    ZeroCopySender zero_copy_;
};

}  // namespace

std::unique_ptr<Stream> make_plain_stream(int fd) {
    return make_plain_stream(fd, make_zero_copy_calls(fd));
}

std::unique_ptr<Stream> make_plain_stream(int fd, std::unique_ptr<ZeroCopyCalls> calls) {
    return std::make_unique<PlainStream>(fd, std::move(calls));
}

}  // namespace migrate::transport
