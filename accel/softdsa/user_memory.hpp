// This process's memory as a device accesses it: by address, which may be invalid. Invariant: all
// access uses process_vm_readv and process_vm_writev on this process, called past the C library, so
// that a bad address is an error and not a signal, PROT_NONE is respected, and no sanitizer
// attributes the device's access to the program.
//
// Residency is that of mincore: for private anonymous memory and hugetlbfs it is the content of the
// page table. A page of a file (including tmpfs and memfd) counts as resident if it is in the page
// cache, even if this process has not mapped it yet and hardware would fault. The kernel also
// reports every page of a file as resident that the caller could not write. A resident page need
// not be accessible: only the access shows that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace migrate::accel::softdsa::user_memory {

inline constexpr std::uint64_t kPageBytes = 4096;

// Returns 0, or the errno that prevents this process from reading its own memory this way.
int probe();

// Returns the number of bytes copied from `address` on; if fewer than `bytes`, the next one is on a
// page that cannot be read (written). Pages that are mapped but absent are populated.
std::size_t read(std::uint64_t address, void* to, std::size_t bytes);
std::size_t write(std::uint64_t address, const void* from, std::size_t bytes);

// Returns the number of bytes from `address` on that are on resident pages.
std::size_t resident(std::uint64_t address, std::size_t bytes);

// Writes bytes 1 to 31 first, then the status byte: a reader that sees the status sees the rest.
// Returns false if the page could not be written.
bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record);

}  // namespace migrate::accel::softdsa::user_memory
