#include "memory/source/page_source.hpp"

#include <cstring>

#include "memory/fault_guard.hpp"
#include "memory/source/anon_source.hpp"
#include "memory/source/file_source.hpp"
#include "memory/uri.hpp"

namespace migrate::memory {

Status PageSource::read(RegionId region, PageRange range, std::byte* to) const {
    const auto from = memory(region).subspan(range.offset_bytes(), range.size_bytes());
    return guard_reads(description(), [&] { std::memcpy(to, from.data(), from.size()); });
}

Result<std::unique_ptr<PageSource>> open_page_source(std::string_view uri) {
    MIGRATE_ASSIGN(const Uri parsed, parse_uri("--source", uri, kSourceSchemes));
    if (parsed.scheme == "file") return open_file_source(uri, parsed.rest);
    MIGRATE_ASSIGN(const AnonSourceSpec spec, parse_anon_source(uri, parsed.rest));
    return open_anon_source(uri, spec);
}

}  // namespace migrate::memory
