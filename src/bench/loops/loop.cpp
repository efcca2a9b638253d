// SPDX-License-Identifier: Apache-2.0
#include "bench/loops/loop.hpp"

#include "base/config/unit_text.hpp"
#include "bench/loops/copy_loop.hpp"

namespace migrate::bench {
namespace {

Json loop_json(const BaselineSpec& spec, double seconds) {
    return {{"loop", spec.words()}, {"bytes", spec.bytes}, {"seconds", seconds}};
}

Result<Json> network_json(const BaselineSpec& spec) {
    const std::uint64_t bytes = spec.bytes / spec.chunk * spec.chunk;
    if (bytes == 0) {
        return make_error(ErrorKind::kUsage, "size={} is less than one chunk of {}",
                          exact_bytes_text(spec.bytes), exact_bytes_text(spec.chunk));
    }
    const NetworkLoop loop{.receiver = spec.receiver,
                           .channels = spec.threads,
                           .bytes = bytes,
                           .chunk = spec.chunk,
                           .source = spec.pages};
    MIGRATE_ASSIGN(const NetworkFigures figures, run_network_loop(loop));
    Json json = loop_json(spec, figures.seconds);
    json["bytes"] = bytes;
    json["send-cpu-ms"] = figures.sender_cpu_s * 1e3;
    json["recv-cpu-ms"] = figures.receiver_cpu_s * 1e3;
    return json;
}

}  // namespace

Result<Json> run_loop(const BaselineSpec& spec) {
    if (spec.kind != BaselineSpec::Kind::kIperf3 && spec.bytes == 0) {
        return make_error(ErrorKind::kUsage, "a bare loop needs a size: {},size=1G", spec.words());
    }
    switch (spec.kind) {
        case BaselineSpec::Kind::kNetwork:
            return network_json(spec);
        case BaselineSpec::Kind::kRead: {
            MIGRATE_ASSIGN(const ReadFigures figures,
                           run_read_loop(spec.threads, spec.bytes, spec.pages));
            Json json = loop_json(spec, figures.seconds);
            json["loads"] = std::string(figures.loads);
            return json;
        }
        case BaselineSpec::Kind::kCopy: {
            MIGRATE_ASSIGN(const CopyFigures figures,
                           run_copy_loop(spec.threads, spec.bytes, spec.pages));
            return loop_json(spec, figures.seconds);
        }
        case BaselineSpec::Kind::kIperf3:
            break;
    }
    return make_error(ErrorKind::kUsage, "{} is no bare loop: use network, read or copy",
                      spec.words());
}

}  // namespace migrate::bench
