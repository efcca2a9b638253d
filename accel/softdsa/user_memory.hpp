// This process's memory as a device reaches it: by address, where an address may be wrong.
// Invariant: all access is by process_vm_readv and process_vm_writev on this process, called past
// the C library, so that a bad address is an answer and not a signal, PROT_NONE is respected, and
// no sanitizer takes the device's access for the program's.
//
// Residency is mincore's: for private anonymous memory and hugetlbfs it is what the page table
// holds. A page of a file (tmpfs and memfd included) counts as resident when it is in the page
// cache, though this process may not have mapped it yet, where hardware would fault; and the
// kernel calls every page of a file resident that the caller could not write. Resident does not
// mean accessible: that is found by the access.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace migrate::accel::softdsa::user_memory {

inline constexpr std::uint64_t kPageBytes = 4096;

// 0, or the errno that keeps this process from reading its own memory this way.
int probe();

// Bytes from `address` on that were copied; fewer than `bytes`: the next one is on a page that
// cannot be read (written). Pages that are mapped but absent are populated.
std::size_t read(std::uint64_t address, void* to, std::size_t bytes);
std::size_t write(std::uint64_t address, const void* from, std::size_t bytes);

// How many of the bytes from `address` on are on resident pages.
std::size_t resident(std::uint64_t address, std::size_t bytes);

// Bytes 1 to 31 first, then the status byte: a reader that sees the status sees the rest. False if
// the page could not be written.
bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record);

}  // namespace migrate::accel::softdsa::user_memory
