// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/live_outputs.hpp"

#include <utility>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "cli/progress.hpp"
#include "cli/result_write.hpp"
#include "transport/address.hpp"

namespace migrate::cli {
namespace {

using std::chrono::steady_clock;

// The service manager need not hear of each change.
constexpr std::chrono::seconds kBetweenStatuses{1};
constexpr std::chrono::seconds kLongestEntry{1};

}  // namespace

void LiveOutputs::connect() {
    manager_ = ServiceManager::connect();
    journal_ = connect_to_journal();
    using Entry = std::shared_ptr<const HostEntry>;
    engine::Report begins;
    Result<Entry> entry =
        call_within<Entry>("make an entry for 'migrate status'", {.timeout = kLongestEntry},
                           [first = running_here(settings_, begins, "")]() -> Result<Entry> {
                               MIGRATE_ASSIGN(HostEntry made, HostEntry::create(first));
                               return std::make_shared<const HostEntry>(std::move(made));
                           });
    if (!entry) {
        log::debug("'migrate status' does not show this migration: {}", entry.error().message());
        return;
    }
    entry_ = *std::move(entry);
    entry_file_ = std::make_unique<LatestFile>(
        [here = entry_](const std::string& text) { return here->write(text); });
}

void LiveOutputs::write_to(OutputFile metrics) {
    file_.reset();
    if (!metrics.is_named()) return;
    file_ = std::make_unique<LatestFile>(
        [file = std::move(metrics)](const std::string& text) { return file.write(text); });
}

Status LiveOutputs::serve(const Signals& signals) {
    const std::string& text = settings_.get<"metrics">();
    if (text.empty()) return {};
    MIGRATE_ASSIGN(const transport::Address address, transport::parse_address(text));
    const auto longest = settings_.get<"handshake-timeout", std::chrono::milliseconds>();
    using Server = std::unique_ptr<MetricsServer>;
    MIGRATE_ASSIGN(server_, unless_signalled<Server>(
                                signals, "open the port of the metrics", [address, longest] {
                                    return MetricsServer::create(address, longest);
                                }));
    engine::Report begins;
    begins.side = settings_.side() == Side::kSend ? "send" : "recv";
    server_->publish(families(begins));
    return {};
}

std::string LiveOutputs::metrics_endpoint() const { return server_ ? server_->endpoint() : ""; }

void LiveOutputs::ready(std::string_view status, std::string address) {
    manager_.ready(status);
    address_ = std::move(address);
}

void LiveOutputs::update(const engine::Report& report) {
    const bool writes = file_ && file_->wants_text();
    if (server_ || writes) {
        MetricFamilies present = families(report);
        if (writes) file_->offer(metrics_text(present));
        if (server_) server_->publish(std::move(present));
    }
    if (entry_file_ && entry_file_->wants_text()) {
        entry_file_->offer(to_json(running(report)));
    }
    // Before that, the status is that of ready().
    if (report.peer.empty() || steady_clock::now() - told_at_ < kBetweenStatuses) return;
    std::string status = status_text(report);
    if (status == told_) return;
    manager_.status(status);
    told_ = std::move(status);
    told_at_ = steady_clock::now();
}

void LiveOutputs::finish(const engine::Report& report, std::string_view how) {
    // If there is no memory for the last figures, the run ends as it would without them.
    static_cast<void>(catching("metrics", [&]() -> Status {
        manager_.stopping(how);
        journal_.send(journal_entry(report, settings_.get<"guest-name">(), how));
        if (entry_) entry_->remove();
        if (server_) server_->publish(families(report));
        if (file_) file_->finish(metrics_text(families(report)), kLongestResultWrite);
        return {};
    }));
}

RunningMigration LiveOutputs::running(const engine::Report& report) const {
    RunningMigration running = running_here(settings_, report, metrics_endpoint());
    if (!address_.empty()) running.address = address_;
    return running;
}

MetricFamilies LiveOutputs::families(const engine::Report& report) const {
    return metric_families(report, settings_.get<"guest-name">());
}

}  // namespace migrate::cli
