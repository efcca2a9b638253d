// SPDX-License-Identifier: Apache-2.0
// A library to preload, whose calls never return, as with a name server or a file system that does
// not answer: getaddrinfo() of the host "hung.test", and open() and renameat() of a path that
// contains "hung.test". And some that take long: memfd_create(), for the milliseconds that the
// environment's SLOW_MEMFD_MS says, and the first sync_file_range(), for those of SLOW_SYNC_MS.
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace {

constexpr const char* kHung = "hung.test";

void hang_if(const char* name) {
    if (name == nullptr || std::strstr(name, kHung) == nullptr) return;
    while (true) ::pause();
}

template <typename Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** list) {
    hang_if(host);
    return next<int(const char*, const char*, const addrinfo*, addrinfo**)>("getaddrinfo")(
        host, service, hints, list);
}

int open(const char* path, int flags, ...) {
    hang_if(path);
    va_list more;
    va_start(more, flags);
    const mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return next<int(const char*, int, mode_t)>("open")(path, flags, mode);
}

int memfd_create(const char* name, unsigned flags) {
    const char* slow = std::getenv("SLOW_MEMFD_MS");
    if (slow != nullptr) ::poll(nullptr, 0, std::atoi(slow));
    return next<int(const char*, unsigned)>("memfd_create")(name, flags);
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
    static std::atomic<bool> first{true};
    const char* slow = std::getenv("SLOW_SYNC_MS");
    if (slow != nullptr && first.exchange(false)) ::poll(nullptr, 0, std::atoi(slow));
    return next<int(int, off64_t, off64_t, unsigned)>("sync_file_range")(fd, offset, count, flags);
}

int renameat(int from, const char* old_name, int to, const char* new_name) {
    hang_if(new_name);
    return next<int(int, const char*, int, const char*)>("renameat")(from, old_name, to, new_name);
}

}  // extern "C"
