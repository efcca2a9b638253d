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

namespace migrate::accel::dsa {

namespace {

constexpr std::uint64_t kPortalBytes = 4096;  // the driver maps one page
// Every offset of the page is the portal; successive descriptors use different offsets, which the
// bus handles better.
constexpr std::uint64_t kPortalStep = sizeof(Descriptor);

class DevicePortal : public Portal {
  public:
    explicit DevicePortal(const QueueInfo& info)
        : name_(info.path),
          limits_(info.limits),
          numa_node_(info.numa_node),
          software_(info.software) {}
    const std::string& name() const override { return name_; }
    const QueueLimits& limits() const override { return limits_; }
    int numa_node() const override { return numa_node_; }
    bool is_software() const override { return software_; }

  protected:
    QueueLimits& limits() { return limits_; }

  private:
    std::string name_;
    QueueLimits limits_;
    int numa_node_;
    bool software_;
};

// One instruction moves the descriptor to the page that the driver mapped.
class MappedPortal final : public DevicePortal {
  public:
    MappedPortal(const QueueInfo& info, Mapping page)
        : DevicePortal(info), page_(std::move(page)) {}

    std::string_view access() const override {
        return DevicePortal::limits().mode == QueueMode::kShared ? "ENQCMD" : "MOVDIR64B";
    }

    std::size_t submit(std::span<const Descriptor> descriptors) override {
        const bool shared = DevicePortal::limits().mode == QueueMode::kShared;
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
        const ssize_t written = ::write(fd_.get(), descriptors.data(), descriptors.size_bytes());
        return written < 0 ? 0 : static_cast<std::size_t>(written) / sizeof(Descriptor);
    }
    // The kernel refuses batches on devices that could be misused by them.
    void allow_batches(bool allowed) {
        if (!allowed) limits().batch = 1;
    }

  private:
    UniqueFd fd_;
};

// Memory for a probe. If the device does not answer in time, it may write at any later time, so the
// memory is then never freed.
struct Probe {
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
};

Descriptor noop(CompletionRecord& record) {
    Descriptor descriptor;
    descriptor.set(Opcode::kNoop, kFlagCompletionAddressValid | kFlagRequestCompletion);
    descriptor.completion_address = address_of(&record);
    return descriptor;
}

// Offers the descriptor until it is taken, and waits for its answer; both end at the deadline.
ProbeOutcome run_probe(Portal& portal, Probe& probe,
                       std::chrono::steady_clock::time_point deadline) {
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
    } while (!outcome.taken && std::chrono::steady_clock::now() < deadline);
    while (outcome.taken && !outcome.answered && std::chrono::steady_clock::now() < deadline) {
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
    if (static_cast<CompletionStatus>(outcome.status & kStatusMask) != CompletionStatus::kSuccess) {
        return make_error("{}: a NOOP was answered with status {:#04x}", info.path, outcome.status);
    }
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

    std::unique_ptr<Portal> portal;
    WritePortal* by_write = nullptr;
    std::string no_mapping;
    auto page = Mapping::create({.size = kPortalBytes,
                                 .protection = PROT_WRITE,
                                 .flags = MAP_SHARED | MAP_POPULATE,
                                 .fd = fd.get(),
                                 .what = info.path});
    if (page) {
        portal = std::make_unique<MappedPortal>(info, *std::move(page));
    } else {
        no_mapping = page.error().message();
        auto written = std::make_unique<WritePortal>(info, std::move(fd));
        by_write = written.get();
        portal = std::move(written);
    }

    const auto deadline = std::chrono::steady_clock::now() + probe_time;
    auto probe = std::make_unique<Probe>();
    probe->descriptor = noop(probe->record);
    const ProbeOutcome outcome = run_probe(*portal, *probe, deadline);
    if (outcome.taken && !outcome.answered) static_cast<void>(probe.release());
    if (Status judged = judge(info, outcome, probe_time); !judged) {
        if (by_write == nullptr) return std::move(judged).error();
        return std::move(judged).error().with_context(
            fmt::format("{}; so write() was tried", no_mapping));
    }
    if (by_write == nullptr || info.limits.batch < 2) return portal;

    for (std::size_t i = 0; i < 2; ++i) probe->children[i] = noop(probe->child_records[i]);
    probe->record.status.store(0, std::memory_order_relaxed);
    probe->descriptor.set(Opcode::kBatch, kFlagCompletionAddressValid | kFlagRequestCompletion);
    probe->descriptor.source = address_of(probe->children.data());
    probe->descriptor.size = 2;
    // One attempt suffices: a kernel that refuses batches refuses each one.
    const ProbeOutcome batch = run_probe(*portal, *probe, std::chrono::steady_clock::now());
    by_write->allow_batches(batch.taken);
    if (batch.taken) static_cast<void>(probe.release());  // nobody reads its answer
    return portal;
}

}  // namespace migrate::accel::dsa
