// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_state.hpp"

#include <array>
#include <cstddef>
#include <utility>

#include "base/little_endian.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kMagic = "MWLD";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 4 + 2 + 1 + 1 + 7 * 8;
constexpr std::size_t kVcpuBytes = 8 + 8;

template <typename Number>
void put(std::string& to, Number value) {
    std::array<std::byte, sizeof value> bytes{};
    store_le(bytes.data(), value);
    for (const std::byte byte : bytes) to += static_cast<char>(byte);
}

// Takes numbers from bytes. The caller has checked the length.
class Reader {
  public:
    explicit Reader(std::string_view bytes) : at_(bytes.data()) {}
    template <typename Number>
    Number take() {
        const auto value = load_le<Number>(reinterpret_cast<const std::byte*>(at_));
        at_ += sizeof(Number);
        return value;
    }
    std::string_view text(std::size_t size) { return {std::exchange(at_, at_ + size), size}; }

  private:
    const char* at_;
};

template <typename... Args>
Error refused(fmt::format_string<Args...> format, Args&&... args) {
    return Error(ErrorKind::kProtocol, fmt::format(format, std::forward<Args>(args)...))
        .with_context("the workload's saved state");
}

Status check_duration(std::string_view what, std::uint64_t us) {
    if (us <= kMaxStateUs) return {};
    return refused("its {} of {} us is beyond {}", what, us, kMaxStateUs);
}

Status decode_vcpus(Reader& reader, WorkloadState& state) {
    for (unsigned i = 0; i < state.spec.threads; ++i) {
        VcpuState vcpu;
        vcpu.writes = reader.take<std::uint64_t>();
        vcpu.last_write_us = reader.take<std::uint64_t>();
        if (vcpu.writes > kMaxWrites) {
            return refused("the {} writes of vCPU {} are more than {}", vcpu.writes, i, kMaxWrites);
        }
        // The limit is the year 2096; no host's clock is set that far ahead.
        if (vcpu.last_write_us > 4 * kMaxStateUs) {
            return refused("the last write of vCPU {} lies too far ahead", i);
        }
        state.vcpus.push_back(vcpu);
    }
    return {};
}

}  // namespace

WorkloadState initial_state(const WorkloadSpec& spec) {
    WorkloadState state;
    state.spec = spec;
    state.vcpus.resize(spec.threads);
    return state;
}

std::string encode_state(const WorkloadState& state) {
    const WorkloadSpec& spec = state.spec;
    std::string bytes(kMagic);
    put(bytes, kVersion);
    put(bytes, static_cast<std::uint8_t>(spec.pattern));
    put(bytes, static_cast<std::uint8_t>(spec.fill));
    for (const std::uint64_t number :
         {std::uint64_t{spec.threads}, spec.size_bytes, spec.working_set_bytes, spec.rate_mib_s,
          spec.seed, state.run_time_us, state.longest_gap_us}) {
        put(bytes, number);
    }
    for (const VcpuState& vcpu : state.vcpus) {
        put(bytes, vcpu.writes);
        put(bytes, vcpu.last_write_us);
    }
    return bytes;
}

Result<WorkloadState> decode_state(std::string_view bytes) {
    if (bytes.size() < kHeaderBytes) {
        return refused("it has {} bytes; at least {} are needed", bytes.size(), kHeaderBytes);
    }
    Reader reader(bytes);
    if (reader.text(kMagic.size()) != kMagic) return refused("it does not begin with {}", kMagic);
    const auto version = reader.take<std::uint16_t>();
    if (version != kVersion) {
        return refused("it is of version {}; this program knows {}", version, kVersion);
    }
    WorkloadState state;
    WorkloadSpec& spec = state.spec;
    spec.pattern = static_cast<Pattern>(reader.take<std::uint8_t>());
    spec.fill = static_cast<Fill>(reader.take<std::uint8_t>());
    const auto threads = reader.take<std::uint64_t>();
    spec.size_bytes = reader.take<std::uint64_t>();
    spec.working_set_bytes = reader.take<std::uint64_t>();
    spec.rate_mib_s = reader.take<std::uint64_t>();
    spec.seed = reader.take<std::uint64_t>();
    state.run_time_us = reader.take<std::uint64_t>();
    state.longest_gap_us = reader.take<std::uint64_t>();
    if (threads > kMaxVcpus) return refused("it has {} threads; {} at most", threads, kMaxVcpus);
    spec.threads = static_cast<unsigned>(threads);
    if (const Status limits = check_limits(spec); !limits) {
        return refused("{}", limits.error().message());
    }
    MIGRATE_TRY(check_duration("run time", state.run_time_us));
    MIGRATE_TRY(check_duration("longest gap", state.longest_gap_us));
    const std::size_t wanted = kHeaderBytes + spec.threads * kVcpuBytes;
    if (bytes.size() != wanted) {
        return refused("it has {} bytes; with {} threads it must have {}", bytes.size(),
                       spec.threads, wanted);
    }
    MIGRATE_TRY(decode_vcpus(reader, state));
    return state;
}

}  // namespace migrate::guest
