#include "cli/output_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace migrate::cli {
namespace {

Status write_all(int fd, std::string_view text, const std::string& name) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Error::system(fmt::format("write {}", name), errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace

Result<OutputFile> OutputFile::open(std::string_view what, const std::string& path) {
    std::string name = fmt::format("the {} file {}", what, path);
    if (path.empty()) return OutputFile(UniqueFd(), std::move(name));
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    if (!fd) return Error::system(fmt::format("open {}", name), errno).as(ErrorKind::kUsage);
    return OutputFile(std::move(fd), std::move(name));
}

Status OutputFile::write(std::string_view text) {
    if (!fd_) return {};
    // A pipe or a terminal (/dev/stdout) cannot be cut or rewound, and need not be.
    if (::ftruncate(fd_.get(), 0) == 0) (void)::lseek(fd_.get(), 0, SEEK_SET);
    return write_all(fd_.get(), text, name_);
}

Status write_file_at_once(const std::string& path, std::string_view text) {
    const std::string temporary = fmt::format("{}.{}", path, ::getpid());
    UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!fd) return Error::system(fmt::format("create {}", temporary), errno);
    Status status = write_all(fd.get(), text, temporary);
    if (status && ::rename(temporary.c_str(), path.c_str()) != 0) {
        status = Error::system(fmt::format("rename {} to {}", temporary, path), errno);
    }
    if (!status) ::unlink(temporary.c_str());
    return status;
}

}  // namespace migrate::cli
