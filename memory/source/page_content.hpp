// SPDX-License-Identifier: Apache-2.0
// The content of a source's pages, for code that only looks at it: where it is mapped, or a copy if
// it is not mapped in this process.
#pragma once

#include <cstddef>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

// One per thread.
class PageContent {
  public:
    explicit PageContent(const PageSource& source) : source_(source) {}

    // Returns the address of the first page's content, which is page-aligned and stays valid until
    // the next call. Mapped pages are present then, but a file may be truncated under them
    // (fault_guard.hpp).
    Result<const std::byte*> of(RegionId region, PageRange pages) {
        if (source_.is_mapped(region)) {
            MIGRATE_TRY(source_.prefault(region, pages));
            return source_.memory(region).data() + pages.offset_bytes();
        }
        if (copy_.size() < pages.size_bytes()) {
            MIGRATE_ASSIGN(copy_, map_anonymous(pages.size_bytes(), HugePages::kOff,
                                                "a copy of another process's memory"));
        }
        MIGRATE_TRY(source_.read(region, pages, copy_.data()));
        return copy_.data();
    }

  private:
    const PageSource& source_;
    Mapping copy_;
};

}  // namespace migrate::memory
