// SPDX-License-Identifier: Apache-2.0
// How normal pages get into a region's memory, chosen by the kind of the memory:
// - in-place: they are received straight into a mapping. The first write to a page causes a page
//   fault, in which the kernel clears the page before the content overwrites it. This is the
//   fastest way for huge pages.
// - uffd-copy: they are received into a channel's buffer, which stays in the CPU's cache, and the
//   kernel allocates and fills each missing page in one step (UFFDIO_COPY). It clears nothing and
//   takes no lock of the file, which halves the CPU time for 4 KiB pages.
// There is no choice for memory that is not mapped here (of another process, or the files of a
// bundle): its pages are received into a channel's buffer and written from there.
#pragma once

#include <linux/userfaultfd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

// How one region is filled.
struct PlacementChoice {
    PlacementChoice(Placement chosen, std::string_view why) : placement(chosen), reason(why) {}

    Placement placement;  // not kAuto
    std::string reason;
};

// Allocates and fills missing pages of memory registered with one userfaultfd. From add() until
// the object ends, an access to a missing page of that memory is a SIGBUS, or EFAULT in a system
// call: nothing but fill() may touch it.
class PageFiller {
  public:
    // An Error if the kernel has no userfaultfd, or does not allow this process to use it.
    static Result<PageFiller> create();

    // Registers page-aligned memory. The Error says why this memory cannot be filled.
    Status add(std::span<std::byte> memory) const;
    // Fills pages of registered memory; `from` has their size. A page that already exists is
    // overwritten. Returns 0 or an errno: ENOMEM if there is no memory or no room in the file
    // system, EFAULT if the file has become shorter. Thread-safe.
    int fill(std::span<std::byte> to, std::span<const std::byte> from) const;

    // The system call of fill(), UFFDIO_COPY: returns 0 or an errno, and puts the number of bytes
    // that were copied into request.copy.
    using Copy = std::function<int(uffdio_copy& request)>;
    // For tests: from now on fill() calls the function that `instead` makes. That one may fail, or
    // pass a part of the request on to `kernel`, the function used so far. Call it before fill().
    void replace_copy(const std::function<Copy(Copy kernel)>& instead) {
        copy_ = instead(std::move(copy_));
    }

  private:
    explicit PageFiller(UniqueFd faults);
    UniqueFd faults_;
    Copy copy_;
};

// How every region of one sink is filled.
struct PlacementPlan {
    std::vector<PlacementChoice> regions;  // in the order of RegionId
    std::unique_ptr<PageFiller> filler;    // set if a region is filled by uffd-copy
    // True if a region is not mapped here, so that PageSink::write() writes its pages.
    bool writes = false;
};

// Chooses for each of the `regions` regions of a prepared sink. kRefused if `wanted` is a
// placement that a region's memory does not allow.
Result<PlacementPlan> plan_placement(const PageSink& sink, std::size_t regions, Placement wanted);

// One kind of memory for `migrate probe`.
struct PlacementSupport {
    std::string_view memory;
    PlacementChoice choice;
};
// Tries each kind of memory that can be made without a file of the user.
std::vector<PlacementSupport> probe_placements();

}  // namespace migrate::memory
