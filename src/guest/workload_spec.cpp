// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_spec.hpp"

#include <utility>

namespace migrate::guest {
namespace {

using memory::HugePages;

Status check_memory_kind(const WorkloadOptions& options) {
    if (options.memory != MemoryKind::kHugetlb) return {};
    if (options.huge == HugePages::kOn) {
        return make_error(ErrorKind::kUsage,
                          "huge=on is for transparent huge pages, with memory=anon or "
                          "memory=memfd; memory=hugetlb has huge pages anyway");
    }
    if (options.spec.size_bytes % kHugePageSize == 0) return {};
    return make_error(ErrorKind::kUsage,
                      "memory=hugetlb: {} bytes is not a multiple of the huge page size, {}",
                      options.spec.size_bytes, kHugePageSize);
}

}  // namespace

Status check_limits(const WorkloadSpec& spec) {
    const auto usage = [](auto format, const auto&... values) {
        return Error(ErrorKind::kUsage, fmt::format(fmt::runtime(format), values...));
    };
    if (spec.size_bytes == 0 || spec.size_bytes % kPageSize != 0) {
        return usage("the size, {} bytes, must be a positive multiple of the page size, {}",
                     spec.size_bytes, kPageSize);
    }
    if (spec.threads < 1 || spec.threads > kMaxVcpus) {
        return usage("threads={} is out of range 1 … {}", spec.threads, kMaxVcpus);
    }
    if (spec.working_set_bytes % kPageSize != 0 || spec.working_set_bytes > spec.size_bytes) {
        return usage("working-set={} must be a multiple of {} and at most the size, {}",
                     spec.working_set_bytes, kPageSize, spec.size_bytes);
    }
    if (spec.working_set_pages() < spec.threads) {
        return usage("working-set={}: {} threads need at least {} bytes, a page each",
                     spec.working_set_bytes, spec.threads, spec.threads * kPageSize);
    }
    if (spec.rate_mib_s > kMaxRateMibS) {
        return usage("rate={} is out of range 0 … {}", spec.rate_mib_s, kMaxRateMibS);
    }
    if (spec.pattern > Pattern::kHotSpot) {
        return usage("pattern {} is not known", static_cast<unsigned>(spec.pattern));
    }
    if (spec.fill > Fill::kNone) {
        return usage("fill {} is not known", static_cast<unsigned>(spec.fill));
    }
    return {};
}

Result<WorkloadOptions> workload_options(std::string_view uri, const ParsedForm& parsed) {
    const Words<kWorkloadWords> words(parsed);
    WorkloadOptions options;
    options.spec = {.size_bytes = parsed.operand.value.number,
                    .working_set_bytes = words.has<"working-set">() ? words.get<"working-set">()
                                                                    : parsed.operand.value.number,
                    .rate_mib_s = words.get<"rate">(),
                    .pattern = words.get<"pattern", WritePattern>(),
                    .fill = words.get<"fill", WorkloadFill>(),
                    .threads = words.get<"threads", unsigned>(),
                    .seed = words.get<"seed">()};
    options.memory = words.get<"memory", MemoryKind>();
    options.huge = words.get<"huge">() ? HugePages::kOn : HugePages::kOff;
    options.warm_up_ms = words.get<"warm-up">();
    Status checked = check_limits(options.spec);
    if (checked) checked = check_memory_kind(options);
    if (checked) return options;
    return std::move(checked).error().with_context(fmt::format("option source: '{}'", uri));
}

}  // namespace migrate::guest
