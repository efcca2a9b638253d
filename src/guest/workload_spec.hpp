// SPDX-License-Identifier: Apache-2.0
// Describes the built-in guest, which the user specifies with the words of workload:
// (kWorkloadWords in base/config/form_tables.hpp).
// Invariant: a spec that was accepted, from the user or from a peer, is within the limits below.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/config/form_tables.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/source/mapped_source.hpp"

namespace migrate::guest {

using Pattern = WritePattern;
using Fill = WorkloadFill;

// Properties of the guest that are the same on every host. The working set is the first pages of
// memory; vCPU t writes its pages p with p % threads = t.
struct WorkloadSpec {
    std::uint64_t size_bytes = 0;         // size of the only region
    std::uint64_t working_set_bytes = 0;  // at least one page per thread, at most size_bytes
    std::uint64_t rate_mib_s = 200;       // sum over all threads; 0: no limit
    Pattern pattern = Pattern::kUniform;
    Fill fill = Fill::kWorkingSet;
    unsigned threads = 1;  // 1 … kMaxVcpus
    std::uint64_t seed = 1;

    std::uint64_t pages() const { return size_bytes / kPageSize; }
    std::uint64_t working_set_pages() const { return working_set_bytes / kPageSize; }
    // The pages [0, filled_pages()) have content before the first write.
    std::uint64_t filled_pages() const {
        if (fill == Fill::kNone) return 0;
        return fill == Fill::kAll ? pages() : working_set_pages();
    }
    friend bool operator==(const WorkloadSpec&, const WorkloadSpec&) = default;
};

// Properties that hold only on the host where the guest starts; they are not sent.
struct WorkloadOptions {
    WorkloadSpec spec;
    memory::MemoryKind memory = memory::MemoryKind::kAnon;
    memory::HugePages huge = memory::HugePages::kOff;
    std::uint64_t warm_up_ms = 500;  // time that the guest runs before a migration may begin
};

// kUsage, which names the wrong value and the allowed values.
Status check_limits(const WorkloadSpec& spec);
// `parsed` is a workload: of kSourceForms, made from `uri`. kUsage for words that do not fit each
// other.
Result<WorkloadOptions> workload_options(std::string_view uri, const ParsedForm& parsed);

}  // namespace migrate::guest
