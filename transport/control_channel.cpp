// SPDX-License-Identifier: Apache-2.0
#include "transport/control_channel.hpp"

#include <sys/uio.h>

#include <array>

namespace migrate::transport {

Result<std::unique_ptr<ControlChannel>> ControlChannel::create(Socket socket) {
    MIGRATE_ASSIGN(Wakeup wakeup, Wakeup::create());
    return std::unique_ptr<ControlChannel>(
        new ControlChannel(std::move(socket), std::move(wakeup)));
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
    const MutexLock lock(send_mutex_);
    return send_parts(parts);
}

Status ControlChannel::send_parts(std::span<iovec> parts) {
    if (cut_off_) {
        return Error(ErrorKind::kLostConnection,
                     "main channel: the previous frame was sent only in part");
    }
    cut_off_ = true;
    Status sent = socket_.send(parts);
    if (!sent) return std::move(sent).error().with_context("main channel");
    cut_off_ = false;
    last_sent_.store(Clock::now(), std::memory_order_relaxed);
    return {};
}

Status ControlChannel::send_if_idle(FrameType type) {
    if (!send_mutex_.try_lock()) return {};
    const MutexLock lock(send_mutex_, std::adopt_lock);
    if (!socket_.has_room()) return {};
    auto header = encode_frame_header(type, 0);
    iovec part{header.data(), header.size()};
    return send_parts(std::span(&part, 1));
}

Status ControlChannel::send_last(FrameType type, std::string_view body,
                                 std::chrono::milliseconds linger) {
    MIGRATE_TRY(send(type, body));
    socket_.finish_sending();
    socket_.drain(after(linger));
    return {};
}

void ControlChannel::finish_sending() {
    const MutexLock lock(send_mutex_);
    socket_.finish_sending();
}

Status ControlChannel::read_available() {
    std::array<std::byte, std::size_t{64} * 1024> buffer;
    Result<std::size_t> size = socket_.receive_now(buffer);
    if (!size) return std::move(size).error().with_context("main channel");
    if (*size == 0) return {};
    last_heard_ = Clock::now();
    parser_.feed(std::span(buffer).first(*size));
    return {};
}

Result<std::optional<Frame>> ControlChannel::receive(std::chrono::milliseconds timeout) {
    const Clock::time_point deadline = after(timeout);
    while (true) {
        MIGRATE_ASSIGN(std::optional<Frame> frame, parser_.next());
        if (frame) return frame;
        MIGRATE_ASSIGN(const InputWait wait, socket_.await_input(deadline, wakeup_));
        if (wait != InputWait::kInput) return std::optional<Frame>();
        MIGRATE_TRY(read_available());
    }
}

}  // namespace migrate::transport
