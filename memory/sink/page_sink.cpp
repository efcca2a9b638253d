#include "memory/sink/page_sink.hpp"

#include "base/config/option_lookup.hpp"
#include "memory/sink/anon_sink.hpp"
#include "memory/sink/file_sink.hpp"
#include "memory/sink/null_sink.hpp"

namespace migrate::memory {

Result<std::unique_ptr<PageSink>> open_page_sink(std::string_view uri) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_form_of<"sink">(uri));
    if (parsed.is("file")) return open_file_sink(uri, parsed.operand.value.text);
    if (parsed.is("null")) return std::unique_ptr<PageSink>(std::make_unique<NullSink>());
    const auto huge = [&] {
        return Words<kMemorySinkWords>(parsed).get<"huge">() ? HugePages::kOn : HugePages::kOff;
    };
    if (parsed.is("anon")) return make_anon_sink(uri, huge());
    if (parsed.is("memfd")) return make_memfd_sink(uri, huge());
    return make_error(ErrorKind::kUsage, "option sink: '{}': a guest is not memory alone", uri);
}

}  // namespace migrate::memory
