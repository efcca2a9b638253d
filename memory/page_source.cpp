#include "memory/page_source.hpp"

#include "memory/anon_source.hpp"
#include "memory/file_source.hpp"
#include "memory/uri.hpp"

namespace migrate::memory {

Result<std::unique_ptr<PageSource>> open_page_source(std::string_view uri) {
    MIGRATE_ASSIGN(const Uri parsed, parse_uri("--source", uri, kSourceSchemes));
    if (parsed.scheme == "file") return open_file_source(uri, parsed.rest);
    MIGRATE_ASSIGN(const AnonSourceSpec spec, parse_anon_source(uri, parsed.rest));
    return open_anon_source(uri, spec);
}

}  // namespace migrate::memory
