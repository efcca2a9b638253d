// SPDX-License-Identifier: Apache-2.0
#include "transport/packet_builder.hpp"

#include <algorithm>

namespace migrate::transport {

void PageCounts::add(const PageRun& run) {
    switch (run.kind) {
        case PageKind::kNormal:
            normal += run.pages.count;
            return;
        case PageKind::kZero:
            zero += run.pages.count;
            return;
        case PageKind::kUnpopulated:
            unpopulated += run.pages.count;
            return;
    }
}

PageCounts& PageCounts::operator+=(const PageCounts& other) {
    normal += other.normal;
    zero += other.zero;
    unpopulated += other.unpopulated;
    return *this;
}

PacketBuilder::PacketBuilder(std::uint64_t packet_bytes)
    : max_normal_pages_(packet_bytes / kPageSize) {
    // Alternating pages give half as many extents as pages.
    payload_.reserve(max_normal_pages_ / 2 + 1);
    normal_pages_.reserve(max_normal_pages_ / 2 + 1);
}

std::uint64_t PacketBuilder::add(RegionId region, const PageRun& run, const std::byte* content) {
    if (runs_.empty()) {
        region_ = region;
        runs_.restart(run.pages.first);
    } else if (region != region_ || run.pages.first < runs_.position()) {
        return 0;
    }
    PageRun taken = run;
    if (run.kind == PageKind::kNormal) {
        taken.pages.count = std::min(run.pages.count, max_normal_pages_ - counts_.normal);
        if (taken.pages.count == 0) return 0;
    }
    if (!runs_.append(taken)) return 0;
    counts_.add(taken);
    if (run.kind == PageKind::kNormal) {
        // iovec has no const; the payload is only read.
        auto* data = const_cast<std::byte*>(content);
        const std::uint64_t size = taken.pages.size_bytes();
        if (!normal_pages_.empty() && normal_pages_.back().end() == taken.pages.first) {
            normal_pages_.back().count += taken.pages.count;
        } else {
            normal_pages_.push_back(taken.pages);
        }
        if (!payload_.empty() &&
            static_cast<std::byte*>(payload_.back().iov_base) + payload_.back().iov_len == data) {
            payload_.back().iov_len += size;
        } else {
            payload_.push_back({data, size});
        }
    }
    return taken.pages.count;
}

void PacketBuilder::clear() {
    runs_.restart(0);
    counts_ = {};
    payload_.clear();
    normal_pages_.clear();
}

}  // namespace migrate::transport
