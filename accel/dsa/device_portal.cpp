// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/device_portal.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "accel/dsa/instructions.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/units.hpp"

namespace migrate::accel::dsa {

namespace {

constexpr std::uint64_t kPortalBytes = 4096;  // the driver maps one page
// Every offset of the page is the portal; successive descriptors use different offsets, which the
// bus handles better.
constexpr std::uint64_t kPortalStep = sizeof(Descriptor);

class DevicePortal : public Portal {
  public:
    explicit DevicePortal(const QueueInfo& info) : info_(info) {}
    const std::string& name() const override { return info_.path; }
    const QueueLimits& limits() const override { return info_.limits; }
    int numa_node() const override { return info_.numa_node; }
    bool is_software() const override { return info_.software; }
    std::string why_closed() const override { return what_is_disabled(info_); }

    void forbid_batches() { info_.limits.batch = 1; }

  private:
    QueueInfo info_;
};

// One instruction moves the descriptor to the page that the driver mapped.
class MappedPortal final : public DevicePortal {
  public:
    MappedPortal(const QueueInfo& info, Mapping page)
        : DevicePortal(info), page_(std::move(page)) {}

    std::string_view access() const override {
        return limits().mode == QueueMode::kShared ? "ENQCMD" : "MOVDIR64B";
    }

    std::size_t submit(std::span<const Descriptor> descriptors) override {
        const bool shared = limits().mode == QueueMode::kShared;
        std::size_t taken = 0;
        for (const Descriptor& descriptor : descriptors) {
            const std::uint64_t offset =
                next_.fetch_add(kPortalStep, std::memory_order_relaxed) % kPortalBytes;
            if (!shared) {
                move_direct(page_.data() + offset, descriptor);
            } else if (!enqueue_command(page_.data() + offset, descriptor)) {
                break;
            }
            ++taken;
        }
        return taken;
    }

  private:
    Mapping page_;
    std::atomic<std::uint64_t> next_{0};
};

// The kernel submits the descriptor (idxd_cdev_write, since 6.10 and the stable kernels of May
// 2024).
class WritePortal final : public DevicePortal {
  public:
    WritePortal(const QueueInfo& info, UniqueFd fd) : DevicePortal(info), fd_(std::move(fd)) {}

    std::string_view access() const override { return "write()"; }

    std::size_t submit(std::span<const Descriptor> descriptors) override {
        order_stores();
        const ssize_t written = ::write(fd_.get(), descriptors.data(), descriptors.size_bytes());
        return written < 0 ? 0 : static_cast<std::size_t>(written) / sizeof(Descriptor);
    }

  private:
    UniqueFd fd_;
};

using Clock = std::chrono::steady_clock;

// Memory for a probe. If the device does not answer in time, it may write at any later time, so the
// memory is then never freed.
struct Probe {
    alignas(kPageSize) std::array<std::byte, kPageSize> zero{};
    alignas(kPageSize) std::array<std::byte, kPageSize> other{};
    std::array<Descriptor, 2> children;
    std::array<CompletionRecord, 2> child_records;
    Descriptor descriptor;
    CompletionRecord record;
};

struct ProbeOutcome {
    int signal = 0;
    bool taken = false;
    bool answered = false;
    std::uint8_t status = 0;

    CompletionStatus masked() const { return static_cast<CompletionStatus>(status & kStatusMask); }
};

Descriptor make_descriptor(Opcode opcode, CompletionRecord& record) {
    record.status.store(0, std::memory_order_relaxed);
    Descriptor descriptor;
    descriptor.set(opcode, kFlagCompletionAddressValid | kFlagRequestCompletion);
    descriptor.completion_address = address_of(&record);
    return descriptor;
}

Descriptor compval(const std::array<std::byte, kPageSize>& page, CompletionRecord& record) {
    Descriptor descriptor = make_descriptor(Opcode::kCompval, record);
    descriptor.source = address_of(page.data());
    descriptor.size = kPageSize;
    return descriptor;
}

// Offers the descriptor until it is taken or `offer_until`, and waits for its answer until
// `answer_until`.
ProbeOutcome run_probe(Portal& portal, Probe& probe, Clock::time_point offer_until,
                       Clock::time_point answer_until) {
    struct Context {
        Portal& portal;
        Probe& probe;
        bool taken;
    } context{portal, probe, false};
    const auto offer = [](void* opaque) {
        auto& c = *static_cast<Context*>(opaque);
        c.taken = c.portal.submit(std::span(&c.probe.descriptor, 1)) == 1;
    };
    ProbeOutcome outcome;
    do {
        outcome.signal = run_trapped(offer, &context);
        outcome.taken = context.taken;
        if (outcome.signal != 0) return outcome;
        if (!outcome.taken) std::this_thread::yield();
    } while (!outcome.taken && Clock::now() < offer_until);
    while (outcome.taken && !outcome.answered && Clock::now() < answer_until) {
        outcome.status = probe.record.status.load(std::memory_order_acquire);
        outcome.answered = outcome.status != 0;
        if (!outcome.answered) std::this_thread::yield();
    }
    return outcome;
}

Status judge(const QueueInfo& info, const ProbeOutcome& outcome,
             std::chrono::milliseconds probe_time) {
    const char* const instruction = info.limits.mode == QueueMode::kShared ? "ENQCMD" : "MOVDIR64B";
    if (outcome.signal == SIGILL) {
        return make_error(
            "{}: this CPU has no {} instruction, or the hypervisor does not pass it on (QEMU: -cpu "
            "host,+enqcmd,+movdir64b)",
            info.path, instruction);
    }
    if (outcome.signal == SIGSEGV) {
        return make_error(
            "{}: the CPU refused {}: this process has no PASID. Shared virtual addresses need "
            "intel_iommu=on,sm_on on the kernel's command line",
            info.path, instruction);
    }
    if (outcome.signal != 0) {
        return make_error("{}: {} on its portal raised signal {} ({})", info.path, instruction,
                          outcome.signal, ::strsignal(outcome.signal));
    }
    if (!outcome.taken) {
        return make_error(
            "{}: its queue had no room for a NOOP within {} ms: other programs keep it full, or "
            "the "
            "device has halted ('accel-config list' shows its state)",
            info.path, probe_time.count());
    }
    if (!outcome.answered) {
        return make_error(
            "{}: a NOOP was not answered within {} ms: the device hangs; 'accel-config "
            "disable-device {}' and 'enable-device' reset it",
            info.path, probe_time.count(), info.device);
    }
    if (outcome.masked() != CompletionStatus::kSuccess) {
        return make_error("{}: a NOOP was answered with status {:#04x}", info.path, outcome.status);
    }
    return {};
}

// Number of refusals that a probe takes for a device's answer.
constexpr int kMaxRefusedProbes = 3;

// Lets the device check a page whose content is known. A page fault is no refusal.
Status probe_page(Portal& portal, std::unique_ptr<Probe>& probe, bool zero,
                  Clock::time_point deadline) {
    ProbeOutcome outcome;
    for (int i = 0; i < kMaxRefusedProbes; ++i) {
        probe->descriptor = compval(zero ? probe->zero : probe->other, probe->record);
        outcome = run_probe(portal, *probe, deadline, deadline);
        if (!outcome.taken || !outcome.answered) {
            if (outcome.taken) static_cast<void>(probe.release());
            return make_error("{}: a COMPVAL was not {} in time", portal.name(),
                              outcome.taken ? "answered" : "accepted");
        }
        const CompletionStatus status = outcome.masked();
        if (status == CompletionStatus::kPageFault) return {};
        if (status != CompletionStatus::kSuccess) continue;
        if (probe->record.result == (zero ? 0 : 1)) return {};
        return make_error("{}: it reports that a page is {} zero, which is wrong: do not use it",
                          portal.name(), zero ? "not" : "all");
    }
    return make_error(
        "{}: it answers COMPVAL with status {:#04x}, so it cannot check pages; use another queue",
        portal.name(), outcome.status);
}

// Returns true if the queue takes a batch of two page checks and answers both. `one_offer`: the
// kernel refuses batches on some devices, and then each one.
bool probe_batch(Portal& portal, std::unique_ptr<Probe>& probe, bool one_offer,
                 Clock::time_point deadline) {
    Probe& own = *probe;
    own.children[0] = compval(own.zero, own.child_records[0]);
    own.children[1] = compval(own.other, own.child_records[1]);
    own.descriptor = make_descriptor(Opcode::kBatch, own.record);
    own.descriptor.source = address_of(own.children.data());
    own.descriptor.size = 2;
    const ProbeOutcome outcome =
        run_probe(portal, own, one_offer ? Clock::now() : deadline, deadline);
    if (outcome.taken && !outcome.answered) static_cast<void>(probe.release());
    // A child may have had a fault; its record does not matter then.
    return outcome.answered && (outcome.masked() == CompletionStatus::kSuccess ||
                                outcome.masked() == CompletionStatus::kBatchFailed);
}

// Checks that the queue answers what a scanner will ask. A queue without batches gets one page at a
// time.
Status probe_checks(DevicePortal& portal, std::unique_ptr<Probe>& probe, bool by_write,
                    Clock::time_point deadline) {
    probe->other.back() = std::byte{1};
    MIGRATE_TRY(probe_page(portal, probe, true, deadline));
    MIGRATE_TRY(probe_page(portal, probe, false, deadline));
    if (portal.limits().batch < 2 || probe_batch(portal, probe, by_write, deadline)) return {};
    log::info("{} takes no batches of page checks, so each page is submitted alone", portal.name());
    portal.forbid_batches();
    return {};
}

Error open_error(const QueueInfo& info, int code) {
    if (code == EBUSY) {
        return make_error("{}: it is a dedicated queue, and another process has it open",
                          info.path);
    }
    if (code == EACCES || code == EPERM) {
        return make_error("{}: {}; 'sudo chown {} {}' lets this user use it", info.path,
                          std::strerror(code), ::geteuid(), info.path);
    }
    return Error::system(
        fmt::format("open {} (is the queue enabled, and are shared virtual addresses on?)",
                    info.path),
        code);
}

}  // namespace

Result<std::unique_ptr<Portal>> open_device_portal(const QueueInfo& info,
                                                   std::chrono::milliseconds probe_time) {
    if (const auto obstacle = find_obstacle(info)) {
        return make_error("{}: {}; {}", info.path, obstacle->reason, obstacle->remedy);
    }
    UniqueFd fd(::open(info.path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) return open_error(info, errno);

    std::unique_ptr<DevicePortal> portal;
    std::string no_mapping;
    auto page = Mapping::create({.size = kPortalBytes,
                                 .protection = PROT_WRITE,
                                 .flags = MAP_SHARED | MAP_POPULATE,
                                 .fd = fd.get(),
                                 .what = info.path});
    const bool by_write = !page;
    if (by_write) {
        no_mapping = page.error().message();
        portal = std::make_unique<WritePortal>(info, std::move(fd));
    } else {
        portal = std::make_unique<MappedPortal>(info, *std::move(page));
    }

    const auto deadline = Clock::now() + probe_time;
    auto probe = std::make_unique<Probe>();
    probe->descriptor = make_descriptor(Opcode::kNoop, probe->record);
    const ProbeOutcome outcome = run_probe(*portal, *probe, deadline, deadline);
    if (outcome.taken && !outcome.answered) static_cast<void>(probe.release());
    if (Status judged = judge(info, outcome, probe_time); !judged) {
        if (!by_write) return std::move(judged).error();
        return std::move(judged).error().with_context(
            fmt::format("{}; so write() was tried", no_mapping));
    }
    MIGRATE_TRY(probe_checks(*portal, probe, by_write, deadline));
    return std::unique_ptr<Portal>(std::move(portal));
}

}  // namespace migrate::accel::dsa
