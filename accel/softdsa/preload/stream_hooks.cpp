// SPDX-License-Identifier: Apache-2.0
// The functions of the C library's streams that open, flush and close a file: a stream writes past
// the hook of write(), so an attribute of sysfs gets its value when the stream is flushed. Also a
// work queue's node is opened as by open().
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "accel/softdsa/errno_kept.hpp"
#include "accel/softdsa/preload/attribute_files.hpp"
#include "accel/softdsa/preload/next_symbol.hpp"
#include "accel/softdsa/preload/world.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constinit NextSymbol<FILE*(const char*, const char*)> next_fopen("fopen");
constinit NextSymbol<int(FILE*)> next_fflush("fflush");
constinit NextSymbol<int(FILE*)> next_fclose("fclose");

// Returns open()'s flags for fopen()'s mode.
int flags_of(std::string_view mode) {
    const bool both = mode.find('+') != std::string_view::npos;
    int flags = both ? O_RDWR : O_WRONLY;
    if (mode.starts_with('r')) flags = both ? O_RDWR : O_RDONLY;
    if (mode.starts_with('w')) flags |= O_CREAT | O_TRUNC;
    if (mode.starts_with('a')) flags |= O_CREAT | O_APPEND;
    if (mode.find('e') != std::string_view::npos) flags |= O_CLOEXEC;
    if (mode.find('x') != std::string_view::npos) flags |= O_EXCL;
    return flags;
}

FILE* open_stream(const char* path, const char* mode) {
    const World* const world = World::instance();
    if (world == nullptr || !world->concerns(path)) return next_fopen(path, mode);
    const int fd = ::open(path, flags_of(mode), 0666);
    if (fd < 0) return nullptr;
    FILE* const stream = ::fdopen(fd, mode);
    if (stream == nullptr) ::close(fd);
    return stream;
}

// Returns the world if the stream stands for an attribute.
World* world_of(FILE* stream) {
    World* const world = World::instance();
    if (world == nullptr || stream == nullptr) return nullptr;
    const ErrnoKept kept;
    const int fd = ::fileno(stream);
    return fd >= 0 && world->look_at(fd).in_tree ? world : nullptr;
}

int fail_with(int error, int result) {
    if (error == 0) return result;
    errno = error;
    return EOF;
}

}  // namespace
}  // namespace migrate::accel::softdsa::preload

#define SOFTDSA_HOOK extern "C" [[gnu::visibility("default")]]

namespace preload = migrate::accel::softdsa::preload;

SOFTDSA_HOOK FILE* fopen(const char* path, const char* mode) {
    return preload::open_stream(path, mode);
}
SOFTDSA_HOOK FILE* fopen64(const char* path, const char* mode) {
    return preload::open_stream(path, mode);
}

SOFTDSA_HOOK int fflush(FILE* stream) {
    const int result = preload::next_fflush(stream);
    preload::World* const world = preload::world_of(stream);
    if (world == nullptr) return result;
    const int error = preload::store_written(*world, ::fileno(stream));
    // For programs that look at ferror() instead of the result, as bash does.
    if (error != 0) stream->_flags |= _IO_ERR_SEEN;
    return preload::fail_with(error, result);
}

SOFTDSA_HOOK int fclose(FILE* stream) {
    preload::World* const world = preload::world_of(stream);
    if (world == nullptr) return preload::next_fclose(stream);
    const int copy = ::fcntl(::fileno(stream), F_DUPFD_CLOEXEC, 0);
    const int result = preload::next_fclose(stream);
    const int error = preload::store_written(*world, copy);
    ::close(copy);
    return preload::fail_with(error, result);
}
