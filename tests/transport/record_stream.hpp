// SPDX-License-Identifier: Apache-2.0
// A Stream with the properties of TLS and none of its security: bytes travel in sealed records, a
// record is readable only when all of it has come, reads take more from the connection than they
// hand out, and the end of the stream is a record of its own.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/little_endian.hpp"
#include "transport/stream.hpp"

namespace migrate::transport {

class RecordStream final : public Stream {
  public:
    static constexpr std::size_t kMaxRecord = std::size_t{16} * 1024;

    explicit RecordStream(int fd) : fd_(fd) {}

    // A record that found no room only in part is completed by the next call, with the same parts.
    Moved send(std::span<const iovec> parts, Mode mode) override {
        if (in_progress_ == 0) {
            std::vector<std::byte> plain;
            for (const iovec& part : parts) {
                const auto* bytes = static_cast<const std::byte*>(part.iov_base);
                const std::size_t size = std::min(part.iov_len, kMaxRecord - plain.size());
                plain.insert(plain.end(), bytes, bytes + size);
            }
            seal(plain);
            in_progress_ = plain.size();
        }
        MIGRATE_ASSIGN(const bool is_sent, flush(mode));
        if (!is_sent) return std::optional<std::size_t>();
        return done(std::exchange(in_progress_, 0));
    }

    Moved receive(std::span<const iovec> parts, Mode mode) override {
        std::size_t total = 0;
        for (const iovec& part : parts) {
            auto* to = static_cast<std::byte*>(part.iov_base);
            for (std::size_t filled = 0; filled < part.iov_len;) {
                if (plain_.empty()) {
                    MIGRATE_ASSIGN(const Opened opened, open_record(mode));
                    if (opened == Opened::kNothing && total == 0) {
                        return std::optional<std::size_t>();
                    }
                    if (opened != Opened::kRecord) return done(total);
                }
                const std::size_t size = std::min(part.iov_len - filled, plain_.size());
                std::copy_n(plain_.begin(), size, to + filled);
                plain_.erase(plain_.begin(), plain_.begin() + static_cast<std::ptrdiff_t>(size));
                filled += size;
                total += size;
            }
        }
        return done(total);
    }

    Moved discard(std::uint64_t bytes) override {
        std::vector<std::byte> dropped(std::min<std::uint64_t>(bytes, kMaxRecord));
        const iovec part{dropped.data(), dropped.size()};
        return receive(std::span(&part, 1), Mode::kWait);
    }

    bool has_buffered_input() const override { return !plain_.empty() || has_whole_record(); }

    void finish_sending() override {
        seal({});
        static_cast<void>(flush(Mode::kNow));
        ::shutdown(fd_, SHUT_WR);
    }

  private:
    enum class Opened { kRecord, kNothing, kEnd };
    static constexpr std::size_t kHeader = 4;
    static constexpr std::byte kKey{0x5A};

    static Moved done(std::size_t bytes) { return std::optional(bytes); }

    void seal(std::span<const std::byte> plain) {
        std::array<std::byte, kHeader> header{};
        store_le(header.data(), static_cast<std::uint32_t>(plain.size()));
        unsent_.insert(unsent_.end(), header.begin(), header.end());
        for (const std::byte byte : plain) unsent_.push_back(byte ^ kKey);
    }

    // Returns true if nothing is left to send.
    Result<bool> flush(Mode mode) {
        while (!unsent_.empty()) {
            const int flags = MSG_NOSIGNAL | (mode == Mode::kNow ? MSG_DONTWAIT : 0);
            const ssize_t size = ::send(fd_, unsent_.data(), unsent_.size(), flags);
            if (size < 0 && errno == EINTR) continue;
            if (size < 0 && errno == EAGAIN) return false;
            if (size < 0) return Error::system("send", errno).as(ErrorKind::kLostConnection);
            unsent_.erase(unsent_.begin(), unsent_.begin() + size);
        }
        return true;
    }

    // Makes plain_ the content of the next record.
    Result<Opened> open_record(Mode mode) {
        while (true) {
            if (has_whole_record()) return take_record();
            // Reads whatever there is, beyond the end of the record.
            std::array<std::byte, 3 * kMaxRecord> buffer;
            const int flags = mode == Mode::kNow ? MSG_DONTWAIT : 0;
            const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), flags);
            if (size == 0) {
                return Error(ErrorKind::kLostConnection, "the stream was cut off");
            }
            if (size < 0 && errno == EINTR) continue;
            if (size < 0 && errno == EAGAIN) return Opened::kNothing;
            if (size < 0) return Error::system("receive", errno).as(ErrorKind::kLostConnection);
            raw_.insert(raw_.end(), buffer.begin(), buffer.begin() + size);
        }
    }

    bool has_whole_record() const {
        return raw_.size() >= kHeader &&
               raw_.size() >= kHeader + load_le<std::uint32_t>(raw_.data());
    }

    Opened take_record() {
        const std::size_t size = load_le<std::uint32_t>(raw_.data());
        const auto begin = raw_.begin() + kHeader;
        const auto end = begin + static_cast<std::ptrdiff_t>(size);
        if (size == 0) return Opened::kEnd;
        for (auto byte = begin; byte != end; ++byte) plain_.push_back(*byte ^ kKey);
        raw_.erase(raw_.begin(), end);
        return Opened::kRecord;
    }

    int fd_;
    std::vector<std::byte> unsent_;  // sealed
    std::size_t in_progress_ = 0;    // bytes of the record in unsent_, before it was sealed
    std::vector<std::byte> raw_;     // sealed records that were received
    std::vector<std::byte> plain_;   // opened, and not handed out yet
};

}  // namespace migrate::transport
