// SPDX-License-Identifier: Apache-2.0
#include "base/fd.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/units.hpp"

namespace migrate {

void UniqueFd::reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

Result<Mapping> Mapping::create(const Request& request) {
    // With an alignment the tail is unmapped below, in whole pages.
    const std::uint64_t slack = request.alignment;
    const std::uint64_t whole =
        slack == 0 ? request.size : (request.size + kPageSize - 1) & ~(kPageSize - 1);
    const std::uint64_t wanted = whole + slack;
    if (request.size == 0 || wanted < request.size) {
        return make_error("cannot map {}: {} bytes is not a possible size", request.what,
                          request.size);
    }
    void* address = ::mmap(nullptr, wanted, request.protection, request.flags, request.fd, 0);
    if (address == MAP_FAILED) return Error::system(fmt::format("map {}", request.what), errno);
    auto* data = static_cast<std::byte*>(address);
    if (slack == 0) return Mapping(data, request.size);

    // The mapping is larger by the alignment: unmap the parts before and after the aligned part.
    const auto misalignment = reinterpret_cast<std::uintptr_t>(data) & (slack - 1);
    const std::uint64_t before = misalignment == 0 ? 0 : slack - misalignment;
    if (before != 0) ::munmap(data, before);
    if (before != slack) ::munmap(data + before + whole, slack - before);
    return Mapping(data + before, request.size);
}

void Mapping::unmap() {
    if (data_ != nullptr) ::munmap(data_, size_);
    data_ = nullptr;
    size_ = 0;
}

}  // namespace migrate
