// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_stream.hpp"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/fault_guard.hpp"
#include "base/mutex.hpp"
#include "base/wait.hpp"
#include "transport/parts_cursor.hpp"

namespace migrate::transport {
namespace {

// The largest record of TLS (RFC 8446, section 5.1).
constexpr std::size_t kRecordBytes = std::size_t{16} * 1024;

// The time that a blocking call on the descriptor would wait; `name` is SO_SNDTIMEO or SO_RCVTIMEO.
WaitClock::time_point wait_limit(int fd, int name) {
    timeval time{};
    socklen_t size = sizeof time;
    if (::getsockopt(fd, SOL_SOCKET, name, &time, &size) != 0) return kNever;
    if (time.tv_sec == 0 && time.tv_usec == 0) return kNever;
    return after(std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec));
}

// One thread sends, and another one may receive at the same time. An SSL object serves one thread
// at a time, so each call of OpenSSL holds the lock. None of them waits: they encrypt or decrypt at
// most one buffer's records. Waits for the connection happen without the lock.
class TlsStream final : public Stream {
  public:
    TlsStream(std::unique_ptr<TlsConnection> connection, std::uint64_t records_per_key)
        : fd_(connection->fd),
          records_per_key_(records_per_key),
          connection_(std::move(connection)) {}

    Moved send(std::span<const iovec> parts, Mode mode) override;
    Moved receive(std::span<const iovec> parts, Mode mode) override;
    Moved discard(std::uint64_t bytes) override;
    bool has_buffered_input() const override;
    void finish_sending() override;

  private:
    enum class Step { kMoved, kNeedsInput, kNeedsRoom, kEnd };
    struct Read {
        Step step = Step::kMoved;
        std::size_t bytes = 0;
    };
    Result<Step> write_record(bool more_follows);
    Result<Read> read_some(std::byte* to, std::size_t size);
    // The reason why a call of OpenSSL moved nothing; `result` is that call's.
    Result<Step> stopped(int result) REQUIRES(mutex_);
    Error broken(int kind) REQUIRES(mutex_);
    // Waits as long as a blocking call would; returns false if the time is over.
    bool wait(Step step, int limit) const;

    const int fd_;
    const std::uint64_t records_per_key_;
    mutable Mutex mutex_;
    std::unique_ptr<TlsConnection> connection_ PT_GUARDED_BY(mutex_);
    bool is_broken_ GUARDED_BY(mutex_) = false;
    // All complete records that came were read.
    bool is_drained_ GUARDED_BY(mutex_) = false;
    std::uint64_t records_ GUARDED_BY(mutex_) = 0;  // sent with the present key
    // Sending thread only: the plaintext of a record that OpenSSL has begun to send.
    std::array<std::byte, kRecordBytes> record_;
    std::size_t record_bytes_ = 0;
};

Stream::Moved TlsStream::send(std::span<const iovec> parts, Mode mode) {
    PartsCursor cursor(parts);
    std::size_t moved = 0;
    while (true) {
        if (record_bytes_ == 0) {
            // Copied, because a record may hold several parts, and because guest memory may vanish.
            MIGRATE_TRY(guard_reads("the guest memory to send",
                                    [&] { record_bytes_ = cursor.copy_to(record_); }));
            if (record_bytes_ == 0) return std::optional(moved);
        }
        MIGRATE_ASSIGN(const Step step, write_record(cursor.left() > record_bytes_));
        if (step == Step::kMoved) {
            cursor.skip(record_bytes_);
            moved += std::exchange(record_bytes_, 0);
            continue;
        }
        if (moved != 0) return std::optional(moved);
        if (mode == Mode::kNow || !wait(step, SO_SNDTIMEO)) return std::optional<std::size_t>();
    }
}

Result<TlsStream::Step> TlsStream::write_record(bool more_follows) {
    const MutexLock lock(mutex_);
    if (is_broken_) return Error(ErrorKind::kLostConnection, "the TLS connection has failed");
    SSL* ssl = connection_->ssl.get();
    connection_->more_follows = more_follows;
    connection_->error = 0;
    forget_openssl_errors();
    std::size_t written = 0;
    const int result = SSL_write_ex(ssl, record_.data(), record_bytes_, &written);
    connection_->more_follows = false;
    if (result != 1) {
        MIGRATE_ASSIGN(const Step step, stopped(result));
        if (step != Step::kEnd) return step;
        // OpenSSL says so of a send that failed if the peer's end of the stream was read before.
        return Error::system("send to a peer that has ended the encrypted connection",
                             connection_->error != 0 ? connection_->error : EPIPE)
            .as(ErrorKind::kLostConnection);
    }
    if (++records_ < records_per_key_) return Step::kMoved;
    records_ = 0;
    // The next call of OpenSSL sends the message, with the old key.
    if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) return Step::kMoved;
    const ErrorKind kind = is_out_of_memory() ? ErrorKind::kFailed : ErrorKind::kLostConnection;
    return make_error(kind, "cannot renew the TLS key: {}", take_openssl_reason());
}

Stream::Moved TlsStream::receive(std::span<const iovec> parts, Mode mode) {
    std::size_t total = 0;
    for (const iovec& part : parts) {
        auto* to = static_cast<std::byte*>(part.iov_base);
        for (std::size_t filled = 0; filled < part.iov_len;) {
            MIGRATE_ASSIGN(const Read read, read_some(to + filled, part.iov_len - filled));
            filled += read.bytes;
            total += read.bytes;
            if (read.step == Step::kMoved) continue;
            if (read.step == Step::kEnd) return std::optional(total);
            if (mode == Mode::kWait && wait(read.step, SO_RCVTIMEO)) continue;
            return total == 0 ? std::optional<std::size_t>() : std::optional(total);
        }
    }
    return std::optional(total);
}

Stream::Moved TlsStream::discard(std::uint64_t bytes) {
    std::array<std::byte, kRecordBytes> dropped;
    const iovec part{dropped.data(), std::min<std::uint64_t>(bytes, dropped.size())};
    return receive(std::span(&part, 1), Mode::kWait);
}

Result<TlsStream::Read> TlsStream::read_some(std::byte* to, std::size_t size) {
    const MutexLock lock(mutex_);
    if (is_broken_) return Error(ErrorKind::kLostConnection, "the TLS connection has failed");
    SSL* ssl = connection_->ssl.get();
    while (true) {
        connection_->error = 0;
        connection_->is_starved = false;
        forget_openssl_errors();
        int result = 0;
        std::size_t bytes = 0;
        // OpenSSL writes to the memory in its last step, so a jump leaves nothing to release.
        Status written =
            guard_writes("the sink's memory", [&] { result = SSL_read_ex(ssl, to, size, &bytes); });
        if (!written) {
            is_broken_ = true;
            return std::move(written).error().as(ErrorKind::kFault);
        }
        if (result == 1) {
            is_drained_ = false;
            return Read{Step::kMoved, bytes};
        }
        MIGRATE_ASSIGN(const Step step, stopped(result));
        is_drained_ = step == Step::kNeedsInput && connection_->is_starved;
        // A record without data was read, and the next one may have come.
        if (step == Step::kNeedsInput && !connection_->is_starved) continue;
        return Read{step, 0};
    }
}

Result<TlsStream::Step> TlsStream::stopped(int result) {
    const int kind = SSL_get_error(connection_->ssl.get(), result);
    if (kind == SSL_ERROR_WANT_READ) return Step::kNeedsInput;
    if (kind == SSL_ERROR_WANT_WRITE) return Step::kNeedsRoom;
    if (kind == SSL_ERROR_ZERO_RETURN) return Step::kEnd;
    is_broken_ = true;
    return broken(kind);
}

Error TlsStream::broken(int kind) {
    if (is_out_of_memory()) {
        return make_error("cannot use the encrypted connection to the peer: {}",
                          take_openssl_reason());
    }
    const int reason = ERR_GET_REASON(ERR_peek_error());
    const std::string text = take_openssl_reason();
    if (kind == SSL_ERROR_SYSCALL && connection_->error != 0) {
        return Error::system("use the encrypted connection to the peer", connection_->error)
            .as(ErrorKind::kLostConnection);
    }
    if (kind == SSL_ERROR_SYSCALL || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        return Error(ErrorKind::kLostConnection,
                     "the encrypted connection was cut off: it ended without TLS's close_notify");
    }
    constexpr int kAlerts = SSL_AD_REASON_OFFSET;  // reasons from here on are the peer's alerts
    if (reason > kAlerts && reason < kAlerts + 256) {
        return make_error(ErrorKind::kLostConnection, "the peer ended the encrypted connection: {}",
                          text);
    }
    return make_error(ErrorKind::kProtocol,
                      "the encrypted data was damaged or changed on the way (TLS: {})", text);
}

bool TlsStream::wait(Step step, int limit) const {
    pollfd polled{fd_, static_cast<short>(step == Step::kNeedsInput ? POLLIN : POLLOUT), 0};
    return wait_for_any(std::span(&polled, 1), wait_limit(fd_, limit)) > 0;
}

bool TlsStream::has_buffered_input() const {
    const MutexLock lock(mutex_);
    return !is_drained_ && SSL_has_pending(connection_->ssl.get()) == 1;
}

void TlsStream::finish_sending() {
    const MutexLock lock(mutex_);
    // A record that was sent in part cannot be followed by the end of the stream.
    if (!is_broken_ && record_bytes_ == 0) {
        forget_openssl_errors();
        static_cast<void>(SSL_shutdown(connection_->ssl.get()));
        forget_openssl_errors();
    }
    ::shutdown(fd_, SHUT_WR);
}

}  // namespace

std::unique_ptr<Stream> make_tls_stream(std::unique_ptr<TlsConnection> connection,
                                        std::uint64_t records_per_key) {
    return std::make_unique<TlsStream>(std::move(connection), records_per_key);
}

}  // namespace migrate::transport
