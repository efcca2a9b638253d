// SPDX-License-Identifier: Apache-2.0
#include "lib/side.hpp"

#include <utility>

#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "engine/session_config.hpp"
#include "lib/given_sink.hpp"
#include "lib/given_source.hpp"
#include "lib/library_options.hpp"
#include "transport/security.hpp"

namespace migrate::lib {
namespace {

Result<std::vector<GivenRegion>> make_regions(const Given& given) {
    if (given.regions.empty()) return Error(ErrorKind::kUsage, "there is no region: add one");
    MIGRATE_TRY(check_distinct(given.regions));
    MIGRATE_ASSIGN(const std::vector<memory::ProcessMapping> mappings, own_mappings());
    std::vector<GivenRegion> regions;
    for (const RegionSpec& spec : given.regions) {
        MIGRATE_ASSIGN(GivenRegion region, GivenRegion::create(spec, mappings));
        regions.push_back(std::move(region));
    }
    return regions;
}

Status check_sender(const Settings& settings, const Given& given,
                    std::span<const GivenRegion> regions) {
    if (!given.callbacks) return {};
    const struct migrate_guest& guest = given.callbacks->given;
    if (guest.pause == nullptr || guest.resume == nullptr || guest.save_state == nullptr) {
        return Error(ErrorKind::kUsage, "a sender's guest needs pause, resume and save_state");
    }
    if (settings.get<"auto-converge">() && guest.throttle == nullptr) {
        return Error(ErrorKind::kUsage, "auto-converge needs the callback throttle of the guest");
    }
    if (given.callbacks->has_dirty_log()) return {};
    for (const GivenRegion& region : regions) {
        if (region.is_at_owners_address()) continue;
        return make_error(ErrorKind::kUsage,
                          "region '{}' has no address: writes to it can be found only by the "
                          "guest's callbacks dirty_start, dirty_collect and dirty_stop",
                          region.info().name);
    }
    return {};
}

class Sender final : public OneSide {
  public:
    static Result<std::unique_ptr<OneSide>> open(const Settings& settings, const Given& given,
                                                 engine::EventLog& events) {
        MIGRATE_ASSIGN(std::vector<GivenRegion> regions, make_regions(given));
        MIGRATE_TRY(check_sender(settings, given, regions));
        MIGRATE_ASSIGN(engine::SendConfig config, engine::make_send_config(settings));
        MIGRATE_ASSIGN(config.security,
                       engine::make_security(settings, engine::remotes_of(config.paths)));
        std::unique_ptr<Sender> sender(new Sender);
        sender->memory_ = make_given_source(std::move(regions), given.callbacks);
        if (given.callbacks) {
            sender->guest_ =
                std::make_unique<CallbackGuest>(given.callbacks, CallbackGuest::Origin::kHere);
        }
        MIGRATE_ASSIGN(sender->session_,
                       engine::SendSession::create(std::move(config), *sender->memory_, events,
                                                   sender->guest_.get()));
        return std::unique_ptr<OneSide>(std::move(sender));
    }

    Status run() override { return session_->run(); }
    Status fail(Error reason) override { return session_->fail(std::move(reason)); }
    void cancel(const std::string& reason) override { session_->cancel(reason); }
    engine::Report report() const override { return session_->report(); }
    engine::GuestOwner owner() const override { return session_->owner(); }
    Status change(const engine::Tunables& tunables) override {
        session_->change(tunables);
        return {};
    }
    Status continue_switchover() override { return session_->continue_switchover(); }

  private:
    Sender() = default;

    std::unique_ptr<memory::PageSource> memory_;
    std::unique_ptr<CallbackGuest> guest_;  // null: memory alone
    std::unique_ptr<engine::SendSession> session_;
};

class Receiver final : public OneSide {
  public:
    static Result<std::unique_ptr<OneSide>> open(const Settings& settings, const Given& given,
                                                 engine::EventLog& events) {
        if (given.callbacks && (given.callbacks->given.load_state == nullptr ||
                                given.callbacks->given.resume == nullptr)) {
            return Error(ErrorKind::kUsage, "a receiver's guest needs load_state and resume");
        }
        MIGRATE_ASSIGN(std::vector<GivenRegion> made, make_regions(given));
        const auto regions = std::make_shared<const std::vector<GivenRegion>>(std::move(made));
        MIGRATE_ASSIGN(engine::RecvConfig config, engine::make_recv_config(settings));
        MIGRATE_ASSIGN(config.security, engine::make_security(settings, config.listen));
        config.sink = kDescription;
        config.open = [regions, callbacks = given.callbacks]() -> Result<guest::Destination> {
            return guest::Destination{.memory = make_given_sink(regions),
                                      .loader = std::make_unique<CallbackLoader>(callbacks)};
        };
        std::unique_ptr<Receiver> receiver(new Receiver(config.security));
        MIGRATE_ASSIGN(receiver->session_, engine::RecvSession::create(std::move(config), events));
        return std::unique_ptr<OneSide>(std::move(receiver));
    }

    Status run() override {
        Status status = session_->run();
        // A one-time key serves no other session.
        security_.session_ended();
        return status;
    }
    Status fail(Error reason) override { return session_->fail(std::move(reason)); }
    void cancel(const std::string& reason) override { session_->cancel(reason); }
    engine::Report report() const override { return session_->report(); }
    engine::GuestOwner owner() const override { return session_->owner(); }
    Status change(const engine::Tunables&) override {
        return Error(ErrorKind::kUsage, "a receiver has no option that changes while it runs");
    }
    Status continue_switchover() override {
        return Error(ErrorKind::kUsage, "a receiver waits for nothing that can be continued");
    }
    std::string address() const override { return session_->endpoint(); }

  private:
    explicit Receiver(transport::Security security) : security_(std::move(security)) {}

    const transport::Security security_;
    std::unique_ptr<engine::RecvSession> session_;
};

}  // namespace

Result<std::unique_ptr<OneSide>> open_side(const Settings& settings, const Given& given,
                                           engine::EventLog& events) {
    MIGRATE_TRY(validate_for_library(settings));
    return settings.side() == Side::kSend ? Sender::open(settings, given, events)
                                          : Receiver::open(settings, given, events);
}

}  // namespace migrate::lib
