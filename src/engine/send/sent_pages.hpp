// SPDX-License-Identifier: Apache-2.0
// The seam through which the sending threads tell the owner of a running guest's memory which pages
// they send. Any thread calls it, but one thread at a time for a page.
#pragma once

#include <span>

#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::engine {

class SentPages {
  public:
    SentPages() = default;
    SentPages(const SentPages&) = delete;
    SentPages& operator=(const SentPages&) = delete;
    virtual ~SentPages() = default;

    // A run was found and is about to be sent.
    virtual void note_sent(RegionId region, const PageRun& run) = 0;
    // True if normal pages have to be sent from a copy, which note_copy() then gets.
    virtual bool wants_copies() const = 0;
    // The content of normal pages, as it is sent.
    virtual void note_copy(RegionId region, PageRange pages, std::span<const std::byte> copy) = 0;
};

}  // namespace migrate::engine
