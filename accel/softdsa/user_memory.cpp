// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/user_memory.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <span>
#include <tuple>

#include "accel/softdsa/guarded_memory.hpp"
#include "base/pagemap_scan.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::user_memory {
namespace {

// This process, and its page table; set by probe().
std::atomic<long> own_process{0};
std::atomic<int> page_table{-1};
// The descriptor gets a high number: a program that closes all of its descriptors, and then opens
// files, gets low numbers for them.
constexpr int kFirstDescriptor = 700;
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;

void open_page_table() {
    const long low =
        raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    if (low < 0) return;
    const long high = raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kFirstDescriptor);
    if (high >= 0) raw_syscall(SYS_close, low);
    page_table.store(static_cast<int>(high >= 0 ? high : low));
}

void* pointer(std::uint64_t address) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses come as integers here
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
}

// Returns the bytes copied, or -1 with errno.
long transfer(long call, std::span<const iovec> here, std::span<const iovec> there) {
    return raw_syscall(call, own_process.load(std::memory_order_relaxed), here.data(), here.size(),
                       there.data(), there.size(), 0UL);
}

// A short count may end before the page that fails, because the kernel promises only whole iovecs.
std::size_t copy(long call, std::uint64_t address, std::byte* here, std::size_t bytes) {
    std::size_t done = 0;
    bool by_page = false;
    while (done < bytes) {
        const std::uint64_t at = address + done;
        std::size_t wanted = bytes - done;
        if (by_page) wanted = std::min<std::size_t>(wanted, kPageBytes - at % kPageBytes);
        const iovec local{here + done, wanted};
        const iovec remote{pointer(at), wanted};
        const long copied = transfer(call, {&local, 1}, {&remote, 1});
        if (copied > 0) done += static_cast<std::size_t>(copied);
        if (copied <= 0 && by_page) break;
        by_page = true;
    }
    return done;
}

// Finds the first pages of one category in [begin, end), which are page addresses. Returns false if
// the kernel cannot tell (before 6.7); an empty region if there are none.
bool find_pages(std::uint64_t begin, std::uint64_t end, std::uint64_t category,
                PagemapRegion& region) {
    region = {};
    PagemapScanArgument scan = pagemap_scan_of(begin, end, {&region, 1});
    scan.category_mask = category;
    scan.return_mask = category;
    return raw_syscall(SYS_ioctl, page_table.load(std::memory_order_relaxed), kPagemapScan,
                       &scan) >= 0;
}

// Returns how many of the `pages` from `page` on are present, from the first on; nothing is known
// after -1. The scan is some ten times as fast as reading the table, which looks up each page's
// descriptor.
long present_pages(std::uint64_t page, std::size_t pages) {
    PagemapRegion region;
    if (find_pages(page, page + pages * kPageBytes, kPageIsPresent, region)) {
        return region.start == page ? static_cast<long>((region.end - page) / kPageBytes) : 0;
    }
    std::array<std::uint64_t, 64> entries;
    const std::size_t wanted = std::min(pages, entries.size());
    const long got =
        raw_syscall(SYS_pread64, page_table.load(std::memory_order_relaxed), entries.data(),
                    wanted * sizeof entries[0], page / kPageBytes * sizeof entries[0]);
    if (got < 0) return -1;
    std::size_t present = 0;
    const std::size_t known = static_cast<std::size_t>(got) / sizeof entries[0];
    while (present < known && (entries[present] & kPresent) != 0) ++present;
    return static_cast<long>(present);
}

// The same by mincore().
std::size_t pages_in_core(std::uint64_t page, std::size_t pages) {
    std::array<unsigned char, 64> in_core{};
    std::size_t known = std::min(pages, in_core.size());
    // A hole anywhere makes the whole call fail, so query one page then.
    if (raw_syscall(SYS_mincore, pointer(page), known * kPageBytes, in_core.data()) != 0) {
        known = 1;
        if (raw_syscall(SYS_mincore, pointer(page), kPageBytes, in_core.data()) != 0) return 0;
    }
    std::size_t present = 0;
    while (present < known && (in_core[present] & 1U) != 0) ++present;
    return present;
}

// Returns how many pieces are complete after `copied` bytes; -1 stands for none.
std::size_t whole_pieces(std::span<const Piece> pieces, long copied) {
    std::size_t whole = 0;
    for (auto left = static_cast<std::size_t>(std::max(copied, 0L));
         whole < pieces.size() && left >= pieces[whole].bytes; ++whole) {
        left -= pieces[whole].bytes;
    }
    return whole;
}

bool write_record_by_call(std::uint64_t address, const std::array<std::byte, 32>& record) {
    auto* bytes = const_cast<std::byte*>(record.data());
    const std::array<iovec, 2> local{iovec{bytes + 1, record.size() - 1}, iovec{bytes, 1}};
    const std::array<iovec, 2> remote{iovec{pointer(address + 1), record.size() - 1},
                                      iovec{pointer(address), 1}};
    return transfer(SYS_process_vm_writev, local, remote) == static_cast<long>(record.size());
}

std::size_t write_in_place(std::span<const CompletionWrite> records) {
    std::size_t count = 0;
    while (count < records.size() &&
           guarded::write_record(records[count].address, records[count].record))
        ++count;
    return count;
}

}  // namespace

int probe() {
    const long process = raw_syscall(SYS_getpid);
    if (own_process.exchange(process) != process) {
        // In the child of a fork the descriptor shows the parent's page table.
        if (const int inherited = page_table.exchange(-1); inherited >= 0)
            raw_syscall(SYS_close, inherited);
        open_page_table();
    }
    char from = 1;
    char to = 0;
    const iovec local{&to, 1};
    const iovec remote{&from, 1};
    return transfer(SYS_process_vm_readv, {&local, 1}, {&remote, 1}) == 1 ? 0 : errno;
}

std::size_t read(std::uint64_t address, void* to, std::size_t bytes) {
    return copy(SYS_process_vm_readv, address, static_cast<std::byte*>(to), bytes);
}

std::size_t write(std::uint64_t address, const void* from, std::size_t bytes) {
    return copy(SYS_process_vm_writev, address,
                const_cast<std::byte*>(static_cast<const std::byte*>(from)), bytes);
}

std::size_t resident(std::uint64_t address, std::size_t bytes) {
    const std::uint64_t end = address + bytes;
    std::uint64_t page = address - address % kPageBytes;
    while (page < end) {
        const std::uint64_t pages = (end - page + kPageBytes - 1) / kPageBytes;
        const long by_table = present_pages(page, pages);
        const std::size_t present =
            by_table >= 0 ? static_cast<std::size_t>(by_table) : pages_in_core(page, pages);
        if (present == 0) return page > address ? page - address : 0;
        page += present * kPageBytes;
    }
    return bytes;
}

std::size_t writable(std::uint64_t address, std::size_t bytes) {
    const std::uint64_t page = address - address % kPageBytes;
    const std::uint64_t end = (address + bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    PagemapRegion first;
    if (!find_pages(page, end, kPageIsZeroPage, first) || first.end == 0) return bytes;
    return first.start > address ? std::min<std::uint64_t>(first.start - address, bytes) : 0;
}

std::size_t read_pieces(std::span<const Piece> pieces) {
    std::array<iovec, kMostPieces> local;
    std::array<iovec, kMostPieces> remote;
    pieces = pieces.first(std::min(pieces.size(), kMostPieces));
    std::size_t ranges = 0;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const Piece& piece = pieces[i];
        // Pieces that follow one another, here and there, are one range.
        if (i != 0 && pieces[i - 1].address + pieces[i - 1].bytes == piece.address &&
            pieces[i - 1].copy + pieces[i - 1].bytes == piece.copy) {
            local[ranges - 1].iov_len += piece.bytes;
            remote[ranges - 1].iov_len += piece.bytes;
            continue;
        }
        local[ranges] = {piece.copy, piece.bytes};
        remote[ranges++] = {pointer(piece.address), piece.bytes};
    }
    return whole_pieces(
        pieces, transfer(SYS_process_vm_readv, {local.data(), ranges}, {remote.data(), ranges}));
}

std::size_t write_pieces(std::span<const Piece> pieces) {
    std::array<iovec, kMostPieces> local;
    std::array<iovec, kMostPieces> remote;
    const std::size_t count = std::min(pieces.size(), kMostPieces);
    for (std::size_t i = 0; i < count; ++i) {
        local[i] = {pieces[i].copy, pieces[i].bytes};
        remote[i] = {pointer(pieces[i].address), pieces[i].bytes};
    }
    return whole_pieces(pieces.first(count), transfer(SYS_process_vm_writev, {local.data(), count},
                                                      {remote.data(), count}));
}

std::size_t read_words(std::uint64_t address, void* to, std::size_t words) {
    if (guarded::is_usable()) return guarded::read_words(address, to, words);
    return read(address, to, words * sizeof(std::uint64_t)) / sizeof(std::uint64_t);
}

bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record) {
    if (guarded::is_usable()) return guarded::write_record(address, record);
    return write_record_by_call(address, record);
}

std::size_t write_records(std::span<const CompletionWrite> records) {
    if (guarded::is_usable()) return write_in_place(records);
    constexpr std::size_t kBytes = std::tuple_size_v<decltype(CompletionWrite::record)>;
    std::array<std::byte, kMostPieces * kBytes> silent;  // without statuses
    std::array<std::byte, kMostPieces * kBytes> whole;
    std::size_t count = 0;
    for (; count < std::min(records.size(), kMostPieces); ++count) {
        const CompletionWrite& each = records[count];
        if (each.address != records[0].address + count * kBytes) break;
        std::ranges::copy(each.record, whole.data() + count * kBytes);
        std::ranges::copy(each.record, silent.data() + count * kBytes);
        silent[count * kBytes] = std::byte{0};
    }
    const std::size_t bytes = count * kBytes;
    const std::array<iovec, 2> local{iovec{silent.data(), bytes}, iovec{whole.data(), bytes}};
    const iovec target{pointer(records[0].address), bytes};
    const std::array<iovec, 2> remote{target, target};
    const bool written =
        count > 1 && transfer(SYS_process_vm_writev, local, remote) == static_cast<long>(2 * bytes);
    if (written) return count;
    return write_record_by_call(records[0].address, records[0].record) ? 1 : 0;
}

}  // namespace migrate::accel::softdsa::user_memory
