#include "memory/sink/page_sink.hpp"

#include <array>

#include "memory/sink/anon_sink.hpp"
#include "memory/sink/file_sink.hpp"
#include "memory/sink/null_sink.hpp"
#include "memory/uri.hpp"

namespace migrate::memory {
namespace {

Result<HugePages> parse_memory_words(std::string_view uri, std::string_view text) {
    constexpr std::array<std::string_view, 1> kKeys{"huge"};
    HugePages huge = HugePages::kOn;
    for (const std::string_view word : split_words(text)) {
        MIGRATE_ASSIGN(const KeyValue pair, parse_key_value(uri, word, kKeys));
        MIGRATE_ASSIGN(const bool on, parse_switch(uri, pair));
        huge = on ? HugePages::kOn : HugePages::kOff;
    }
    return huge;
}

}  // namespace

Result<std::unique_ptr<PageSink>> open_page_sink(std::string_view uri) {
    MIGRATE_ASSIGN(const Uri parsed, parse_uri("--sink", uri, kSinkSchemes));
    if (parsed.scheme == "file") return open_file_sink(uri, parsed.rest);
    if (parsed.scheme == "null") {
        if (parsed.rest.empty()) return std::unique_ptr<PageSink>(std::make_unique<NullSink>());
        return make_error(ErrorKind::kUsage, "--sink {}: nothing may follow null:, but '{}' does",
                          uri, parsed.rest);
    }
    MIGRATE_ASSIGN(const HugePages huge, parse_memory_words(uri, parsed.rest));
    return parsed.scheme == "anon" ? make_anon_sink(uri, huge) : make_memfd_sink(uri, huge);
}

}  // namespace migrate::memory
