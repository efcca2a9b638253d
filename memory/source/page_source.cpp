// SPDX-License-Identifier: Apache-2.0
#include "memory/source/page_source.hpp"

#include <cstring>

#include "base/config/option_lookup.hpp"
#include "base/fault_guard.hpp"
#include "memory/dirty/dirty_tracker.hpp"
#include "memory/source/anon_source.hpp"
#include "memory/source/file_source.hpp"

namespace migrate::memory {

Status PageSource::read(RegionId region, PageRange range, std::byte* to) const {
    const auto from = memory(region).subspan(range.offset_bytes(), range.size_bytes());
    return guard_reads(description(), [&] { std::memcpy(to, from.data(), from.size()); });
}

std::unique_ptr<DirtyTracker> PageSource::make_own_tracker() const { return nullptr; }

Result<std::unique_ptr<PageSource>> open_page_source(std::string_view uri) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_form_of<"source">(uri));
    if (parsed.is("file")) return open_file_source(uri, parsed.operand.value.text);
    if (parsed.is("anon")) return open_anon_source(uri, anon_source_spec(parsed));
    return make_error(ErrorKind::kUsage, "option source: '{}': a guest is not memory alone", uri);
}

}  // namespace migrate::memory
