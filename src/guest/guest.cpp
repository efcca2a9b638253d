#include "guest/guest.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "guest/external/process_guest.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_incoming.hpp"
#include "guest/workload.hpp"
#include "guest/workload_spec.hpp"
#include "memory/source/mapped_source.hpp"
#include "memory/uri.hpp"

namespace migrate::guest {
namespace {

// Joins the schemes that memory opens and the schemes that this library adds.
template <std::size_t N>
constexpr auto with_memory_schemes(const auto& theirs,
                                   const std::array<std::string_view, N>& ours) {
    std::array<std::string_view, std::tuple_size_v<std::decay_t<decltype(theirs)>> + N> schemes{};
    std::copy(ours.begin(), ours.end(), std::copy(theirs.begin(), theirs.end(), schemes.begin()));
    return schemes;
}
constexpr auto kSourceSchemes =
    with_memory_schemes(memory::kSourceSchemes, std::array{kWorkloadKind, kQemuKind, kPidScheme});
constexpr auto kSinkSchemes = with_memory_schemes(memory::kSinkSchemes, std::array{kQemuKind});

Result<Machine> open_workload(std::string_view uri, std::string_view words) {
    MIGRATE_ASSIGN(const WorkloadOptions options, parse_workload(uri, words));
    const WorkloadSpec& spec = options.spec;
    if (options.memory != memory::MemoryKind::kHugetlb) {
        const std::uint64_t written = std::max(spec.working_set_pages(), spec.filled_pages());
        MIGRATE_TRY(memory::check_fits_available_memory(written * kPageSize, uri));
    }
    MIGRATE_ASSIGN(auto source, memory::MappedSource::create(uri, options.memory, spec.size_bytes,
                                                             options.huge));
    Status filled = fill_memory(spec, source->bytes());
    if (!filled) return std::move(filled).error().with_context(uri);
    MIGRATE_ASSIGN(auto guest,
                   Workload::create(initial_state(spec), source->bytes(), source.get()));
    MIGRATE_TRY(guest->resume());
    return Machine{std::move(source), std::move(guest),
                   std::chrono::milliseconds(options.warm_up_ms)};
}

}  // namespace

double bytes_per_second(const Activity& from, const Activity& to) {
    const auto time = static_cast<double>((to.run_time - from.run_time).count());
    return time > 0 ? static_cast<double>(to.bytes_written - from.bytes_written) * 1e6 / time : 0;
}

Result<Machine> open_machine(std::string_view uri) {
    MIGRATE_ASSIGN(const memory::Uri parsed, memory::parse_uri("--source", uri, kSourceSchemes));
    if (parsed.scheme == kWorkloadKind) return open_workload(uri, parsed.rest);
    if (parsed.scheme == kQemuKind) return open_qemu_machine(uri, parsed.rest);
    if (parsed.scheme == kPidScheme) return open_process_machine(uri, parsed.rest);
    MIGRATE_ASSIGN(auto source, memory::open_page_source(uri));
    return Machine{std::move(source), nullptr, {}};
}

Result<Destination> open_destination(std::string_view uri) {
    MIGRATE_ASSIGN(const memory::Uri parsed, memory::parse_uri("--sink", uri, kSinkSchemes));
    if (parsed.scheme == kQemuKind) return open_qemu_destination(uri, parsed.rest);
    MIGRATE_ASSIGN(auto sink, memory::open_page_sink(uri));
    return Destination{std::move(sink), nullptr};
}

Status Destination::check(std::string_view kind) const {
    if (loader) {
        if (kind == loader->kind()) return {};
        return make_error("{} takes a running guest of the kind '{}' only, and this is {}",
                          memory->description(), loader->kind(),
                          kind.empty() ? "a memory image" : fmt::format("one of '{}'", kind));
    }
    if (kind.empty() || kind == kProcessKind) return {};
    if (kind == kQemuKind) {
        return make_error("a guest of QEMU goes on in another QEMU: use the sink qemu:SOCKET");
    }
    if (!can_run(kind)) {
        return make_error("this receiver cannot run a guest of the kind '{}'", kind);
    }
    if (!memory->hosts_guest()) {
        return make_error("a running guest cannot go on in {}: use the sink anon: or memfd:",
                          memory->description());
    }
    return {};
}

Result<std::unique_ptr<Guest>> Destination::load(std::string_view kind, std::string_view state,
                                                 std::vector<std::span<std::byte>> regions,
                                                 const std::stop_token& stop) const {
    if (loader) return loader->load(state, stop);
    if (kind == kProcessKind) return load_process(state);
    return load_guest(kind, state, std::move(regions));
}

bool can_run(std::string_view kind) { return kind == kWorkloadKind; }

Result<std::unique_ptr<Guest>> load_guest(std::string_view kind, std::string_view state,
                                          std::vector<std::span<std::byte>> regions) {
    if (!can_run(kind)) {
        return make_error("this host cannot run a guest of kind '{}'; it can run {}", kind,
                          kWorkloadKind);
    }
    MIGRATE_ASSIGN(const WorkloadState loaded, decode_state(state));
    if (regions.size() != 1 || regions[0].size() != loaded.spec.size_bytes) {
        return make_error(ErrorKind::kProtocol,
                          "the workload's saved state is of one region of {} bytes; there {}",
                          loaded.spec.size_bytes,
                          regions.size() == 1 ? fmt::format("is one of {} bytes", regions[0].size())
                                              : fmt::format("are {} regions", regions.size()));
    }
    MIGRATE_ASSIGN(auto guest, Workload::create(loaded, regions[0], nullptr));
    return std::unique_ptr<Guest>(std::move(guest));
}

}  // namespace migrate::guest
