// SPDX-License-Identifier: Apache-2.0
// This process's memory as a device accesses it: by address, which may be invalid. Invariant: all
// access uses process_vm_readv and process_vm_writev on this process, called past the C library, so
// that a bad address is an error and not a signal, PROT_NONE is respected, and no sanitizer
// attributes the device's access to the program.
//
// A page is resident if this process's page table has it (bit 63 of its entry in
// /proc/self/pagemap), as for a device that translates addresses by the same table: a page of a
// file that is in the page cache only, and one that was never touched, are absent. Without /proc,
// mincore() decides, which calls each page of a file resident that is in the page cache. A resident
// page need not be accessible: only the access shows that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/softdsa/completion_write.hpp"

namespace migrate::accel::softdsa::user_memory {

inline constexpr std::uint64_t kPageBytes = 4096;

// Prepares this process's access to itself: called before any other function, and again in the
// child of a fork. Returns 0, or the errno that prevents it. Not async-signal-safe.
int probe();

// Returns the number of bytes copied from `address` on; if fewer than `bytes`, the next one is on a
// page that cannot be read (written). Pages that are mapped but absent are populated.
std::size_t read(std::uint64_t address, void* to, std::size_t bytes);
std::size_t write(std::uint64_t address, const void* from, std::size_t bytes);

// Returns the number of bytes from `address` on that are on resident pages.
std::size_t resident(std::uint64_t address, std::size_t bytes);

// Returns the number of bytes from `address` on that a device may write without a page request: not
// those of the kernel's zero page, which is mapped where memory was only read. Kernels before 6.7
// do not tell them apart; then all are.
std::size_t writable(std::uint64_t address, std::size_t bytes);

// A piece of this process's memory, and its copy.
struct Piece {
    std::uint64_t address = 0;
    std::byte* copy = nullptr;
    std::size_t bytes = 0;
};
inline constexpr std::size_t kMostPieces = 32;
// Read or write up to kMostPieces pieces in one call; they return the number of those that were
// read or written, from the first on.
std::size_t read_pieces(std::span<const Piece> pieces);
std::size_t write_pieces(std::span<const Piece> pieces);

// Reads words of 8 bytes, in place where that is possible. Returns how many could be read, from the
// first on.
std::size_t read_words(std::uint64_t address, void* to, std::size_t words);

// Writes bytes 1 to 31 first, then the status byte: a reader that sees the status sees the rest.
// Returns false if the page could not be written.
bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record);
// Does the same for the first records: for all that can be written in place, or for those that lie
// side by side, up to kMostPieces, in one call. Returns the number of records written, from the
// first on; 0 if the first could not be written.
std::size_t write_records(std::span<const CompletionWrite> records);

}  // namespace migrate::accel::softdsa::user_memory
