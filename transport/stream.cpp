#include "transport/stream.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>

#include "base/raw_syscall.hpp"

namespace migrate::transport {
namespace {

msghdr message_of(std::span<const iovec> parts) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = parts.size();
    return message;
}

// Calls again after a signal.
template <typename Call>
ssize_t uninterrupted(Call call) {
    ssize_t moved = -1;
    do {
        moved = call();
    } while (moved < 0 && errno == EINTR);
    return moved;
}

// `moved` is the result of a system call.
Stream::Moved result_of(ssize_t moved, std::string_view what) {
    if (moved >= 0) return std::optional(static_cast<std::size_t>(moved));
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<std::size_t>();
    return Error::system(what, errno).as(ErrorKind::kLostConnection);
}

class PlainStream final : public Stream {
  public:
    explicit PlainStream(int fd) : fd_(fd) {}

    Moved send(std::span<const iovec> parts, Mode mode) override {
        const msghdr message = message_of(parts);
        const int flags = MSG_NOSIGNAL | (mode == Mode::kNow ? MSG_DONTWAIT : 0);
        const ssize_t moved = uninterrupted([&] { return ::sendmsg(fd_, &message, flags); });
        if (moved < 0 && errno == EFAULT) {
            return Error::system("read the guest memory to send", errno);
        }
        return result_of(moved, "send to the peer");
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

  private:
    int fd_;
};

}  // namespace

std::unique_ptr<Stream> make_plain_stream(int fd) { return std::make_unique<PlainStream>(fd); }

}  // namespace migrate::transport
