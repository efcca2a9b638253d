// SPDX-License-Identifier: Apache-2.0
#include "engine/send/scanner_set.hpp"

#include "accel/cpu_page_scanner.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/numa_node.hpp"

namespace migrate::engine {
namespace {

bool all_mapped(const memory::PageSource& source) {
    for (std::size_t i = 0; i < source.regions().size(); ++i) {
        if (!source.is_mapped(static_cast<RegionId>(i))) return false;
    }
    return true;
}

}  // namespace

Result<std::unique_ptr<ScannerSet>> ScannerSet::create(const SendConfig& config,
                                                       const memory::PageSource& source) {
    MIGRATE_ASSIGN(PrefaultedPages prefaulted, PrefaultedPages::create(source));
    const SpanScanner::Options options{.skip_unpopulated = config.skip_unpopulated,
                                       .normal_page_ratio = config.normal_page_ratio,
                                       .batch_pages = config.negotiated.packet_bytes() / kPageSize};
    std::unique_ptr<ScannerSet> set(new ScannerSet(source, options, std::move(prefaulted)));
    if (config.detection != ZeroPageDetection::kNone) {
        const auto found = accel::find_zero_kernel(config.zero_kernel);
        // The option accepts known names only, so this CPU cannot run the kernel.
        if (!found) return Error(found.error()).as(ErrorKind::kRefused);
        set->kernel_ = *found;
        set->kernel_name_ = set->kernel_->name;
    }
    if (config.detection == ZeroPageDetection::kDsaAccel) {
        accel::DsaAccelerator::Options accel = config.accel;
        accel.batch_pages = options.batch_pages;
        accel.numa_node = memory::numa_node_of(source);
        MIGRATE_ASSIGN(set->accelerator_, accel::DsaAccelerator::open(accel));
        set->options_.prefaulted = &set->prefaulted_;
    }
    const bool legacy = config.detection == ZeroPageDetection::kLegacy;
    // In legacy mode packets are handed over, and the scanner cannot know when the memory that they
    // point to was sent. So it cannot stage.
    const bool copies = !all_mapped(source);
    if (legacy && copies) {
        return make_error(ErrorKind::kRefused,
                          "zero-page-detection=legacy sends memory that is mapped in this process, "
                          "and private memory of another process is not: use multifd");
    }
    // Neither a device nor zero-copy send has a use for a copy of mapped memory.
    set->reads_mapped_ = set->kernel_ != nullptr && !set->accelerator_ && !legacy &&
                         source.prefers_read(!options.skip_unpopulated) &&
                         config.zero_copy != AutoOnOff::kOn;
    if (copies || set->reads_mapped_) set->staging_bytes_ = 2 * config.negotiated.packet_bytes();
    for (unsigned i = 0; i < (legacy ? 1U : config.negotiated.channels()); ++i) {
        MIGRATE_TRY(set->add());
    }
    return set;
}

Status ScannerSet::add() {
    std::unique_ptr<accel::PageScanner> scanner;
    if (accelerator_) {
        MIGRATE_ASSIGN(scanner, accelerator_->make_scanner(scanners_.size(), *kernel_));
    } else if (kernel_ != nullptr) {
        scanner = std::make_unique<accel::CpuPageScanner>(*kernel_);
    }
    auto made = std::make_unique<SpanScanner>(source_, std::move(scanner), options_);
    if (staging_bytes_ != 0) {
        MIGRATE_ASSIGN(
            Mapping staging,
            memory::map_anonymous(staging_bytes_, memory::HugePages::kOff, "what a channel reads"));
        made->stage(std::move(staging), reads_mapped_);
    }
    scanners_.push_back(std::move(made));
    return {};
}

Result<SpanScanner*> ScannerSet::scanner(std::size_t channel) {
    if (channel == scanners_.size()) MIGRATE_TRY(add());
    return scanners_[channel].get();
}

std::vector<bool> ScannerSet::regions_in_place() const {
    std::vector<bool> in_place(source_.regions().size(), staging_bytes_ == 0);
    for (std::size_t i = 0; i < in_place.size(); ++i) {
        // SpanScanner decides in the same way.
        if (staging_bytes_ != 0 && !reads_mapped_)
            in_place[i] = source_.is_mapped(static_cast<RegionId>(i));
    }
    return in_place;
}

Status ScannerSet::start(ThreadTimes& times, Cancellation& cancellation) {
    if (!accelerator_ || !accelerator_->needs_thread()) return {};
    // Does not use the session's token: a scanner may await an answer after the session was
    // cancelled.
    const auto complete = [this, stop = completion_stop_.get_token()] {
        accelerator_->run_completion(stop);
        return Status();
    };
    MIGRATE_ASSIGN(completion_,
                   SessionThread::start("dsa_completion", times, cancellation, complete));
    return {};
}

void ScannerSet::stop() {
    completion_stop_.request_stop();
    completion_.reset();
}

std::optional<accel::AccelReport> ScannerSet::accel_report() const {
    if (!accelerator_) return std::nullopt;
    return accelerator_->report();
}

std::vector<bool> changing_regions(const memory::PageSource& source, const ScannerSet& scanners,
                                   bool guest) {
    std::vector<bool> changing = scanners.regions_in_place();
    for (std::size_t i = 0; i < changing.size(); ++i) {
        const RegionId region{static_cast<std::uint16_t>(i)};
        changing[i] = changing[i] && (guest || source.file_of(region).has_value());
    }
    return changing;
}

}  // namespace migrate::engine
