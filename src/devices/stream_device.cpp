// SPDX-License-Identifier: Apache-2.0
#include "devices/stream_device.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>

#include "base/descriptors.hpp"
#include "base/little_endian.hpp"
#include "base/replacement_file.hpp"
#include "base/wait.hpp"

namespace migrate::devices {
namespace {

// "MSTR"; the number of bytes of the stream follows.
constexpr std::uint32_t kStreamMagic = 0x5254534D;
constexpr std::size_t kStreamConfigBytes = 12;

// Waits until the descriptor can be read or written without blocking; regular files always can.
Status await(int fd, short events, const StopWait& wait) {
    while (true) {
        MIGRATE_ASSIGN(const bool ready, wait.wait_until(fd, events, kNever));
        if (ready) return {};
    }
}

class StreamSource final : public DeviceSource {
  public:
    explicit StreamSource(UniqueFd fd) : fd_(std::move(fd)) {}

    Status begin(const std::stop_token&) override { return {}; }

    Result<std::size_t> save(std::span<std::byte> buffer, const std::stop_token& stop) override {
        const StopWait wait(stop);
        std::size_t filled = 0;
        while (filled < buffer.size()) {
            // Also waits for a FIFO's writer: before one has come and gone, poll() reports no end
            // (fs/pipe.c in Linux: the hang-up counts writers since this end was opened), but
            // read() would.
            MIGRATE_TRY(await(fd_.get(), POLLIN, wait));
            const ssize_t count = ::read(fd_.get(), &buffer[filled], buffer.size() - filled);
            if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            if (count < 0) return Error::system("read its stream", errno);
            if (count == 0) break;
            filled += static_cast<std::size_t>(count);
        }
        total_ += filled;
        return filled;
    }

    Result<std::size_t> save_config(std::span<std::byte> buffer, const std::stop_token&) override {
        if (buffer.size() < kStreamConfigBytes) return make_error("no room for the configuration");
        store_le(&buffer[0], kStreamMagic);
        store_le(&buffer[4], total_);
        return kStreamConfigBytes;
    }

  private:
    UniqueFd fd_;
    std::uint64_t total_ = 0;
};

// Writes as much as possible without blocking, whatever flags the descriptor has: its opener shares
// the flags, so they must not be changed.
class Writer {
  public:
    explicit Writer(UniqueFd fd) : fd_(std::move(fd)) {
        struct stat status {};
        if (::fstat(fd_.get(), &status) != 0) return;
        is_socket_ = S_ISSOCK(status.st_mode);
        const int flags = ::fcntl(fd_.get(), F_GETFL);
        // A pipe that poll() calls writable has room for PIPE_BUF bytes (pipe(7)). A larger write
        // would wait for a reader and would not notice a stop.
        const bool may_wait = !S_ISREG(status.st_mode) && (flags & O_NONBLOCK) == 0;
        most_bytes_ = may_wait ? PIPE_BUF : SSIZE_MAX;
    }

    int fd() const { return fd_.get(); }
    // Like write(2), once the descriptor can be written.
    ssize_t write(std::span<const std::byte> bytes) const {
        if (is_socket_) {
            return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        return ::write(fd_.get(), bytes.data(), std::min(bytes.size(), most_bytes_));
    }

  private:
    UniqueFd fd_;
    bool is_socket_ = false;
    std::size_t most_bytes_ = PIPE_BUF;
};

class StreamSink final : public DeviceSink {
  public:
    // Without a `file`, the sink writes to whatever the descriptor leads to.
    StreamSink(UniqueFd fd, std::optional<ReplacementFile> file)
        : to_(std::move(fd)), file_(std::move(file)) {}

    Status begin(const std::stop_token&) override { return {}; }

    Status load(std::span<const std::byte> chunk, const std::stop_token& stop) override {
        const StopWait wait(stop);
        total_ += chunk.size();
        while (!chunk.empty()) {
            MIGRATE_TRY(await(to_.fd(), POLLOUT, wait));
            const ssize_t count = to_.write(chunk);
            if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            if (count < 0) return Error::system("write its stream", errno);
            chunk = chunk.subspan(static_cast<std::size_t>(count));
        }
        return {};
    }

    Status load_config(std::span<const std::byte> config, const std::stop_token&) override {
        if (config.size() != kStreamConfigBytes ||
            load_le<std::uint32_t>(config.data()) != kStreamMagic) {
            return make_error("its configuration does not belong to a byte stream");
        }
        const auto sent = load_le<std::uint64_t>(&config[4]);
        if (sent == total_) return {};
        return make_error("the sender sent {} bytes, and {} arrived", sent, total_);
    }

    Status commit() override { return file_ ? file_->publish(to_.fd()) : Status(); }

  private:
    Writer to_;
    std::optional<ReplacementFile> file_;
    std::uint64_t total_ = 0;
};

Result<UniqueFd> open_for(const std::string& path, int flags) {
    // O_NONBLOCK, so that open() does not wait for a FIFO's writer: signals are blocked, so only
    // SIGKILL would end that wait.
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK));
    if (fd) return fd;
    if (errno == ENXIO) {  // open(2): a FIFO, opened for writing, without a reader
        return make_error(
            ErrorKind::kUsage,
            "cannot open {}: no process has this FIFO open for reading; start its reader "
            "first",
            path);
    }
    return Error::system(fmt::format("open {}", path), errno).as(ErrorKind::kUsage);
}

// True for a file that takes a stream and keeps nothing that could be overwritten.
bool is_stream(const struct stat& status) {
    const dev_t null = makedev(1, 3);  // Documentation/admin-guide/devices.txt
    return S_ISFIFO(status.st_mode) || (S_ISCHR(status.st_mode) && status.st_rdev == null);
}

Error unusable(int number, int code) {
    return Error::system(fmt::format("use descriptor {}", number), code).as(ErrorKind::kUsage);
}

Result<UniqueFd> duplicate(int number, int access) {
    const int flags = ::fcntl(number, F_GETFL);
    if (flags < 0) return unusable(number, errno);
    const int mode = flags & O_ACCMODE;
    if ((flags & O_PATH) != 0 || (mode != O_RDWR && mode != access)) {
        return make_error(ErrorKind::kUsage, "cannot use descriptor {}: it is not open for {}",
                          number, access == O_RDONLY ? "reading" : "writing");
    }
    UniqueFd fd(::fcntl(number, F_DUPFD_CLOEXEC, 0));
    if (!fd) return unusable(number, errno);
    return fd;
}

}  // namespace

Status take_descriptor(int number) {
    MIGRATE_TRY(check_inherited(number));
    if (::fcntl(number, F_SETFD, FD_CLOEXEC) < 0) return unusable(number, errno);
    return {};
}

Result<std::unique_ptr<DeviceSource>> open_stream_source(const std::string& path) {
    MIGRATE_ASSIGN(UniqueFd fd, open_for(path, O_RDONLY));
    struct stat status {};
    if (::fstat(fd.get(), &status) == 0 && S_ISDIR(status.st_mode)) {
        return make_error(ErrorKind::kUsage, "{} is a folder", path);
    }
    return std::unique_ptr<DeviceSource>(std::make_unique<StreamSource>(std::move(fd)));
}

Result<std::unique_ptr<DeviceSource>> duplicate_stream_source(int number) {
    MIGRATE_ASSIGN(UniqueFd fd, duplicate(number, O_RDONLY));
    return std::unique_ptr<DeviceSource>(std::make_unique<StreamSource>(std::move(fd)));
}

Result<std::unique_ptr<DeviceSink>> open_stream_sink(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && is_stream(status)) {
        MIGRATE_ASSIGN(UniqueFd fd, open_for(path, O_WRONLY));
        return std::unique_ptr<DeviceSink>(
            std::make_unique<StreamSink>(std::move(fd), std::nullopt));
    }
    MIGRATE_ASSIGN(ReplacementFile file, ReplacementFile::create(path));
    MIGRATE_ASSIGN(UniqueFd fd, file.open_temporary());
    return std::unique_ptr<DeviceSink>(
        std::make_unique<StreamSink>(std::move(fd), std::move(file)));
}

Result<std::unique_ptr<DeviceSink>> duplicate_stream_sink(int number) {
    MIGRATE_ASSIGN(UniqueFd fd, duplicate(number, O_WRONLY));
    return std::unique_ptr<DeviceSink>(std::make_unique<StreamSink>(std::move(fd), std::nullopt));
}

}  // namespace migrate::devices
