// SPDX-License-Identifier: Apache-2.0
// A region in a file that is written by system calls, with the digest of its content at any time:
// each write replaces the pages' digests in the sum, so the digest of a large region costs nothing
// while its guest waits. Invariants: pages that were never written, and pages that are zero in both
// their old and their new content, stay holes; digest() is that of the file's content
// (memory/digest.hpp) whenever no write is in progress.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"
#include "memory/digest.hpp"
#include "memory/source/population.hpp"

namespace migrate::memory {

class RegionFile {
  public:
    // `file` is empty and open for reading and writing; `what` names it in errors. `size_bytes`
    // comes from the peer: it is checked against the limits of the file system and the address
    // space, and nothing is allocated. The digests take 16 bytes of memory for each page that is
    // written.
    static Result<RegionFile> create(UniqueFd file, std::uint64_t size_bytes, std::string what);

    // Thread-safe, if no two threads use the same page.
    Status write(PageRange pages, std::span<const std::byte> content) const;
    Status clear(PageRange pages) const;
    Status read(PageRange pages, std::span<std::byte> to) const;
    // Behaves as PageSink::population().
    Status population(PageRange pages, std::vector<PopulationExtent>& extents) const;

    // Writes everything so far to the disk, part by part: a requested stop ends that with
    // kCancelled.
    Status write_back(const std::stop_token& stop) const;
    // An Error if the file is shorter than its region; otherwise waits until it is on the disk.
    Status sync() const;
    Digest digest() const;

  private:
    struct Sum {
        Mutex mutex;
        Digest digest GUARDED_BY(mutex);
    };
    RegionFile(UniqueFd file, Mapping digests, std::uint64_t size_bytes, std::string what);
    // One for each page; all zero for a page that is zero.
    Digest* digests() const { return reinterpret_cast<Digest*>(digests_.data()); }
    Status write_content(PageRange pages, std::span<const std::byte> content) const;
    void add(const Digest& change) const;

    UniqueFd file_;
    Mapping digests_;
    std::uint64_t size_bytes_;
    std::string what_;
    FilePopulation population_;
    std::unique_ptr<Sum> sum_ = std::make_unique<Sum>();  // on the heap, so that this can be moved
};

}  // namespace migrate::memory
