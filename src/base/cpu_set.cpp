// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_set.hpp"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

namespace migrate {
namespace {

// A set of the kernel with room for this many CPUs.
class KernelCpuSet {
  public:
    explicit KernelCpuSet(unsigned cpus) : set_(CPU_ALLOC(cpus)), bytes_(CPU_ALLOC_SIZE(cpus)) {
        if (set_) CPU_ZERO_S(bytes_, set_.get());
    }
    explicit operator bool() const { return set_ != nullptr; }
    cpu_set_t* get() const { return set_.get(); }
    std::size_t bytes() const { return bytes_; }

  private:
    struct Free {
        void operator()(cpu_set_t* set) const { CPU_FREE(set); }
    };

    std::unique_ptr<cpu_set_t, Free> set_;
    std::size_t bytes_;
};

std::optional<unsigned> parse_cpu(std::string_view text) {
    unsigned cpu = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
    if (error != std::errc() || end != text.data() + text.size() || cpu > kMaxCpu)
        return std::nullopt;
    return cpu;
}

}  // namespace

Result<CpuSet> parse_cpu_list(std::string_view text) {
    CpuSet cpus;
    while (true) {
        const std::size_t comma = text.find(',');
        const std::string_view item = text.substr(0, comma);
        const std::size_t dash = item.find('-');
        const auto first = parse_cpu(item.substr(0, dash));
        const auto last = dash == std::string_view::npos ? first : parse_cpu(item.substr(dash + 1));
        if (!first || !last || *last < *first) {
            return make_error("'{}' is not a CPU or a range of CPUs; use a list like 0-3,8", item);
        }
        for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
        if (comma == std::string_view::npos) break;
        text.remove_prefix(comma + 1);
    }
    std::sort(cpus.begin(), cpus.end());
    cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
    return cpus;
}

std::string cpu_list_text(const CpuSet& cpus) {
    std::string text;
    for (std::size_t i = 0; i < cpus.size();) {
        std::size_t end = i + 1;
        while (end < cpus.size() && cpus[end] == cpus[end - 1] + 1) ++end;
        if (!text.empty()) text += ',';
        text += std::to_string(cpus[i]);
        if (end - i > 1) text += '-' + std::to_string(cpus[end - 1]);
        i = end;
    }
    return text;
}

CpuSet common_cpus(const CpuSet& one, const CpuSet& other) {
    CpuSet both;
    std::set_intersection(one.begin(), one.end(), other.begin(), other.end(),
                          std::back_inserter(both));
    return both;
}

CpuSet cpus_of_this_thread() {
    const KernelCpuSet set(kMaxCpu + 1);
    CpuSet cpus;
    if (!set || ::sched_getaffinity(0, set.bytes(), set.get()) != 0) return cpus;
    for (unsigned cpu = 0; cpu <= kMaxCpu; ++cpu) {
        if (CPU_ISSET_S(cpu, set.bytes(), set.get())) cpus.push_back(cpu);
    }
    return cpus;
}

Status run_on(const CpuSet& cpus) {
    const KernelCpuSet set(kMaxCpu + 1);
    if (!set) return Error::system("choose the CPUs of a thread", ENOMEM);
    for (const unsigned cpu : cpus) CPU_SET_S(cpu, set.bytes(), set.get());
    if (::sched_setaffinity(0, set.bytes(), set.get()) == 0) return {};
    if (errno == EINVAL) {
        return make_error("this process may use none of the CPUs {}", cpu_list_text(cpus));
    }
    return Error::system("run a thread on the CPUs " + cpu_list_text(cpus), errno);
}

OnCpus::OnCpus(const std::optional<CpuSet>& cpus) {
    if (!cpus) return;
    before_ = cpus_of_this_thread();
    if (!run_on(*cpus)) before_.clear();
}

OnCpus::~OnCpus() {
    if (!before_.empty()) static_cast<void>(run_on(before_));
}

}  // namespace migrate
