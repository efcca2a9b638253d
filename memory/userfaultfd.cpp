// SPDX-License-Identifier: Apache-2.0
#include "memory/userfaultfd.hpp"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/raw_syscall.hpp"

namespace migrate::memory {
namespace {

// USERFAULTFD_IOC_NEW of include/uapi/linux/userfaultfd.h, Linux 6.1; Debian 12's header lacks it.
constexpr unsigned long kNewFromDevice = _IO(0xAA, 0x00);

}  // namespace

Result<UniqueFd> open_userfaultfd() {
    UniqueFd faults(
        static_cast<int>(raw_syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
    if (faults) return faults;
    const int refusal = errno;
    const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    if (device) {
        faults.reset(::ioctl(device.get(), kNewFromDevice,
                             static_cast<unsigned long>(O_CLOEXEC | UFFD_USER_MODE_ONLY)));
        if (faults) return faults;
    }
    Error error = Error::system("create a userfaultfd", refusal);
    if (refusal == ENOSYS) {
        return make_error("{}: this kernel was built without CONFIG_USERFAULTFD", error.message());
    }
    if (refusal == EPERM) {
        return make_error(
            "{}: a seccomp filter, such as a container's, forbids it; allow the system call, or "
            "give access to /dev/userfaultfd",
            error.message());
    }
    return error;
}

int enable_userfaultfd(const UniqueFd& faults, std::uint64_t features) {
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = features;
    return ::ioctl(faults.get(), UFFDIO_API, &api) == 0 ? 0 : errno;
}

int register_missing(const UniqueFd& faults, std::span<std::byte> memory) {
    uffdio_register request{};
    request.range.start = reinterpret_cast<std::uintptr_t>(memory.data());
    request.range.len = memory.size();
    request.mode = UFFDIO_REGISTER_MODE_MISSING;
    return ::ioctl(faults.get(), UFFDIO_REGISTER, &request) == 0 ? 0 : errno;
}

}  // namespace migrate::memory
