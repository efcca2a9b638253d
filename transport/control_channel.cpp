#include "transport/control_channel.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace migrate::transport {

Result<std::unique_ptr<ControlChannel>> ControlChannel::create(Socket socket) {
    UniqueFd wake_event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_event) return Error::system("create an eventfd", errno);
    return std::unique_ptr<ControlChannel>(
        new ControlChannel(std::move(socket), std::move(wake_event)));
}

Status ControlChannel::send(FrameType type, std::string_view body) {
    return send(type, std::as_bytes(std::span(body)), {});
}

Status ControlChannel::send(FrameType type, std::span<const std::byte> first,
                            std::span<const std::byte> second) {
    auto header = encode_frame_header(type, first.size() + second.size());
    std::array<iovec, 3> parts{iovec{header.data(), header.size()},
                               iovec{const_cast<std::byte*>(first.data()), first.size()},
                               iovec{const_cast<std::byte*>(second.data()), second.size()}};
    const std::scoped_lock lock(send_mutex_);
    return send_parts(parts);
}

// The caller holds send_mutex_.
Status ControlChannel::send_parts(std::span<iovec> parts) {
    if (cut_off_) {
        return Error(ErrorKind::kLostConnection, "main channel: the frame before was cut off");
    }
    cut_off_ = true;
    Status sent = socket_.send(parts);
    if (!sent) return std::move(sent).error().with_context("main channel");
    cut_off_ = false;
    last_sent_.store(Clock::now(), std::memory_order_relaxed);
    return {};
}

Status ControlChannel::send_if_idle(FrameType type) {
    const std::unique_lock lock(send_mutex_, std::try_to_lock);
    pollfd polled{socket_.fd(), POLLOUT, 0};
    if (!lock || ::poll(&polled, 1, 0) <= 0) return {};
    auto header = encode_frame_header(type, 0);
    iovec part{header.data(), header.size()};
    return send_parts(std::span(&part, 1));
}

bool ControlChannel::has_input() const {
    pollfd polled{socket_.fd(), POLLIN, 0};
    return ::poll(&polled, 1, 0) > 0;
}

Status ControlChannel::send_last(FrameType type, std::string_view body,
                                 std::chrono::milliseconds linger) {
    MIGRATE_TRY(send(type, body));
    ::shutdown(socket_.fd(), SHUT_WR);
    const Clock::time_point deadline = Clock::now() + linger;
    // Closing with unread input would send a reset, which makes the peer drop data that it has not
    // read yet.
    while (true) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) return {};
        pollfd polled{socket_.fd(), POLLIN, 0};
        if (::poll(&polled, 1, static_cast<int>(left)) < 0 && errno != EINTR) return {};
        std::array<std::byte, 4096> dropped;
        const ssize_t moved = ::recv(socket_.fd(), dropped.data(), dropped.size(), MSG_DONTWAIT);
        if (moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR)) return {};
        if (moved > 0)
            received_.fetch_add(static_cast<std::uint64_t>(moved), std::memory_order_relaxed);
    }
}

Status ControlChannel::read_available() {
    std::array<std::byte, std::size_t{64} * 1024> buffer;
    const ssize_t moved = ::recv(socket_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (moved == 0) {
        return make_error(ErrorKind::kLostConnection, "the peer closed the main channel");
    }
    if (moved < 0) {
        if (errno == EINTR || errno == EAGAIN) return {};
        return Error::system("receive on the main channel", errno).as(ErrorKind::kLostConnection);
    }
    received_.fetch_add(static_cast<std::uint64_t>(moved), std::memory_order_relaxed);
    last_heard_ = Clock::now();
    parser_.feed(std::span(buffer).first(static_cast<std::size_t>(moved)));
    return {};
}

Result<std::optional<Frame>> ControlChannel::receive(std::chrono::milliseconds timeout) {
    const Clock::time_point deadline = Clock::now() + timeout;
    while (true) {
        MIGRATE_ASSIGN(std::optional<Frame> frame, parser_.next());
        if (frame) return frame;
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) return std::optional<Frame>();
        std::array<pollfd, 2> polled{pollfd{socket_.fd(), POLLIN, 0},
                                     pollfd{wake_event_.get(), POLLIN, 0}};
        const int ready = ::poll(polled.data(), polled.size(), static_cast<int>(left));
        if (ready < 0 && errno != EINTR) return Error::system("wait on the main channel", errno);
        if (ready <= 0) continue;
        if (polled[1].revents != 0) {
            std::uint64_t count = 0;
            [[maybe_unused]] const ssize_t drained =
                ::read(wake_event_.get(), &count, sizeof count);
            return std::optional<Frame>();
        }
        MIGRATE_TRY(read_available());
    }
}

void ControlChannel::wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_event_.get(), &one, sizeof one);
}

}  // namespace migrate::transport
