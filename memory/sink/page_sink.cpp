// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/page_sink.hpp"

#include "base/config/option_lookup.hpp"
#include "memory/sink/anon_sink.hpp"
#include "memory/sink/file_sink.hpp"
#include "memory/sink/null_sink.hpp"
#include "memory/sink/resumable_sink.hpp"

namespace migrate::memory {

Result<std::unique_ptr<PageSink>> open_page_sink(std::string_view uri, Resume resume) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_form_of<"sink">(uri));
    if (parsed.is("file")) {
        const std::string& path = parsed.operand.value.text;
        return resume == Resume::kYes ? open_resumable_sink(uri, path) : open_file_sink(uri, path);
    }
    if (resume == Resume::kYes) {
        return make_error(ErrorKind::kUsage,
                          "option resume: only a transfer into a file (--sink file:PATH) can be "
                          "continued, not one into {}",
                          uri);
    }
    if (parsed.is("null")) return std::unique_ptr<PageSink>(std::make_unique<NullSink>());
    const auto huge = [&] {
        return Words<kMemorySinkWords>(parsed).get<"huge">() ? HugePages::kOn : HugePages::kOff;
    };
    if (parsed.is("anon")) return make_anon_sink(uri, huge());
    if (parsed.is("memfd")) return make_memfd_sink(uri, huge());
    return make_error(ErrorKind::kUsage, "option sink: '{}': a guest is not memory alone", uri);
}

}  // namespace migrate::memory
