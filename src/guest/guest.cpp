// SPDX-License-Identifier: Apache-2.0
#include "guest/guest.hpp"

#include <algorithm>
#include <utility>

#include "base/config/option_lookup.hpp"
#include "guest/bundle/bundle_destination.hpp"
#include "guest/bundle/bundle_machine.hpp"
#include "guest/bundle/bundle_reuse.hpp"
#include "guest/external/process_guest.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_incoming.hpp"
#include "guest/workload.hpp"
#include "guest/workload_spec.hpp"
#include "memory/source/mapped_source.hpp"

namespace migrate::guest {
namespace {

Result<Machine> open_workload(std::string_view uri, const ParsedForm& parsed) {
    MIGRATE_ASSIGN(const WorkloadOptions options, workload_options(uri, parsed));
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

namespace {

Result<Destination> open_sink(std::string_view uri, memory::Resume resume) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_form_of<"sink">(uri));
    if (resume == memory::Resume::kNo) {
        if (parsed.is("qemu")) return open_qemu_destination(uri, parsed);
        if (parsed.is("bundle")) return open_bundle_destination(uri, parsed);
    }
    MIGRATE_ASSIGN(auto sink, memory::open_page_sink(uri, resume));
    return Destination{std::move(sink), nullptr};
}

}  // namespace

double bytes_per_second(const Activity& from, const Activity& to) {
    const auto time = static_cast<double>((to.run_time - from.run_time).count());
    return time > 0 ? static_cast<double>(to.bytes_written - from.bytes_written) * 1e6 / time : 0;
}

Result<Machine> open_machine(std::string_view uri) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_form_of<"source">(uri));
    if (parsed.is("workload")) return open_workload(uri, parsed);
    if (parsed.is("qemu")) return open_qemu_machine(uri, parsed);
    if (parsed.is("bundle")) return open_bundle_machine(uri, parsed);
    if (parsed.is("pid")) return open_process_machine(uri, parsed);
    MIGRATE_ASSIGN(auto source, memory::open_page_source(uri));
    return Machine{std::move(source), nullptr, {}};
}

Result<Destination> open_destination(std::string_view uri, const Extras& extras) {
    MIGRATE_ASSIGN(Destination destination, open_sink(uri, extras.resume));
    if (extras.reuse.empty()) return destination;
    if (destination.memory->discards()) {
        return make_error(ErrorKind::kUsage,
                          "option reuse: {} keeps nothing, so nothing can be reused; use another "
                          "sink",
                          uri);
    }
    MIGRATE_ASSIGN(destination.reuse, open_reuse_files(extras.reuse));
    return destination;
}

Status Destination::check(const GuestOffer& offer) const {
    if (loader) return loader->check_ready(offer);
    const std::string& kind = offer.kind;
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
        return make_error(
            ErrorKind::kProtocol, "the workload's saved state needs one region of {} bytes; {}",
            loaded.spec.size_bytes,
            regions.size() == 1 ? fmt::format("the region here has {} bytes", regions[0].size())
                                : fmt::format("there are {} regions here", regions.size()));
    }
    MIGRATE_ASSIGN(auto guest, Workload::create(loaded, regions[0], nullptr));
    return std::unique_ptr<Guest>(std::move(guest));
}

}  // namespace migrate::guest
