// SPDX-License-Identifier: Apache-2.0
// A set of CPUs, and the CPUs on which threads run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace migrate {

// CPU numbers in ascending order, each once.
using CpuSet = std::vector<unsigned>;

// The largest number of a CPU in a list.
inline constexpr unsigned kMaxCpu = 65'535;

// Parses the kernel's form of a list: "0-3,8" (cpuset(7)). An Error says what is wrong with it; an
// empty list is one.
Result<CpuSet> parse_cpu_list(std::string_view text);
// The shortest list of this set.
std::string cpu_list_text(const CpuSet& cpus);
// The CPUs that are in both.
CpuSet common_cpus(const CpuSet& one, const CpuSet& other);

// The CPUs on which the calling thread may run; empty if the kernel does not tell.
CpuSet cpus_of_this_thread();
// From now on the calling thread, and the threads that it starts, run on these CPUs only. An Error
// if this process may use none of them.
Status run_on(const CpuSet& cpus);

// While it lives, the calling thread, and the threads that it starts, run on these CPUs only, if
// any are given and this process may use one of them.
class OnCpus {
  public:
    explicit OnCpus(const std::optional<CpuSet>& cpus);
    ~OnCpus();
    OnCpus(const OnCpus&) = delete;
    OnCpus& operator=(const OnCpus&) = delete;

  private:
    CpuSet before_;  // empty: nothing to undo
};

}  // namespace migrate
