// SPDX-License-Identifier: Apache-2.0
#include "perf/uring.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "base/raw_syscall.hpp"

namespace migrate::perf {
namespace {

template <typename T, typename Deleter>
T* at(const std::unique_ptr<std::byte, Deleter>& memory, std::uint32_t offset) {
    return reinterpret_cast<T*>(memory.get() + offset);
}

}  // namespace

void Uring::Unmap::operator()(std::byte* memory) const { ::munmap(memory, size); }

Result<Uring::Mapped> Uring::map(std::size_t size, std::uint64_t offset) const {
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                                fd_.get(), static_cast<off_t>(offset));
    if (memory == MAP_FAILED) return Error::system("map an io_uring", errno);
    return Mapped(static_cast<std::byte*>(memory), Unmap{size});
}

Result<Uring> Uring::create(unsigned entries) {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    Uring ring;
    ring.fd_ = UniqueFd(static_cast<int>(raw_syscall(SYS_io_uring_setup, entries, &params)));
    if (!ring.fd_) return Error::system("set up an io_uring", errno);
    MIGRATE_TRY(ring.enter_rings(params));
    return ring;
}

Status Uring::enter_rings(const io_uring_params& params) {
    const std::size_t rings =
        std::max<std::size_t>(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                              params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
    MIGRATE_ASSIGN(rings_, map(rings, IORING_OFF_SQ_RING));
    MIGRATE_ASSIGN(entries_, map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    tail_ = at<unsigned>(rings_, params.sq_off.tail);
    mask_ = *at<unsigned>(rings_, params.sq_off.ring_mask);
    array_ = at<unsigned>(rings_, params.sq_off.array);
    sqes_ = at<io_uring_sqe>(entries_, 0);
    cq_head_ = at<unsigned>(rings_, params.cq_off.head);
    cq_tail_ = at<unsigned>(rings_, params.cq_off.tail);
    cq_mask_ = *at<unsigned>(rings_, params.cq_off.ring_mask);
    cqes_ = at<io_uring_cqe>(rings_, params.cq_off.cqes);
    return {};
}

Status Uring::register_with(unsigned opcode, const void* argument, unsigned count) {
    if (raw_syscall(SYS_io_uring_register, fd_.get(), opcode, argument, count) >= 0) return {};
    return Error::system("register something with an io_uring", errno);
}

Status Uring::register_buffers(std::span<const iovec> buffers) {
    return register_with(IORING_REGISTER_BUFFERS, buffers.data(),
                         static_cast<unsigned>(buffers.size()));
}

Status Uring::register_file(int fd) { return register_with(IORING_REGISTER_FILES, &fd, 1); }

Status Uring::register_buffer_ring(void* ring, unsigned entries, std::uint16_t group) {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(ring);
    registration.ring_entries = entries;
    registration.bgid = group;
    return register_with(IORING_REGISTER_PBUF_RING, &registration, 1);
}

io_uring_sqe& Uring::next() {
    const unsigned index = (*tail_ + filled_++) & mask_;
    array_[index] = index;
    sqes_[index] = {};
    return sqes_[index];
}

Status Uring::submit(unsigned wait_for) {
    std::atomic_ref(*tail_).store(*tail_ + filled_, std::memory_order_release);
    unsigned left = filled_;
    filled_ = 0;
    do {
        const long done = raw_syscall(SYS_io_uring_enter, fd_.get(), left, wait_for,
                                      IORING_ENTER_GETEVENTS, nullptr, 0);
        if (done < 0 && errno != EINTR) return Error::system("enter an io_uring", errno);
        if (done > 0) left -= static_cast<unsigned>(done);
    } while (left != 0);
    return {};
}

std::optional<Uring::Completion> Uring::take() {
    const unsigned head = *cq_head_;
    if (head == std::atomic_ref(*cq_tail_).load(std::memory_order_acquire)) return std::nullopt;
    const io_uring_cqe& entry = cqes_[head & cq_mask_];
    const Completion completion{entry.user_data, entry.res, entry.flags};
    std::atomic_ref(*cq_head_).store(head + 1, std::memory_order_release);
    return completion;
}

}  // namespace migrate::perf
