// SPDX-License-Identifier: Apache-2.0
#include "lib/migration.hpp"

#include <utility>

#include "base/catching.hpp"
#include "base/outcome.hpp"
#include "engine/session_config.hpp"
#include "lib/library_options.hpp"

namespace migrate::lib {
namespace {

constexpr std::size_t kMaxRegions = 65535;

}  // namespace

Migration::~Migration() {
    if (!thread_.joinable()) return;
    static_cast<void>(catching("cancel", [this]() -> Status {
        cancel("the source or destination was closed");
        return {};
    }));
    thread_.join();
}

Status Migration::check_new() const {
    const MutexLock lock(mutex_);
    if (state_ == State::kNew) return {};
    return Error(ErrorKind::kUsage, "the migration was opened: it cannot be set up any more");
}

Status Migration::set_option(std::string_view text) {
    MIGRATE_TRY(check_new());
    return set_library_option(settings_, text);
}

Status Migration::add_region(RegionSpec region) {
    MIGRATE_TRY(check_new());
    if (given_.regions.size() == kMaxRegions) {
        return make_error(ErrorKind::kUsage, "there are {} regions, which is the maximum",
                          kMaxRegions);
    }
    given_.regions.push_back(std::move(region));
    return {};
}

Status Migration::set_guest(Callbacks callbacks) {
    MIGRATE_TRY(check_new());
    given_.callbacks = std::make_shared<const Callbacks>(std::move(callbacks));
    return {};
}

Status Migration::listen(engine::EventLog::Listener listener) {
    MIGRATE_TRY(check_new());
    events_.listen(std::move(listener));
    return {};
}

Status Migration::open() {
    {
        const MutexLock lock(mutex_);
        if (state_ == State::kOpen) return {};
        if (cancelled_) return Error(ErrorKind::kCancelled, *cancelled_);
    }
    MIGRATE_TRY(check_new());
    const SignalsBlocked blocked;
    Result<std::unique_ptr<OneSide>> made = open_side(settings_, given_, events_);
    if (!made) return settled(std::move(made).error(), Stage::kBeforeSession);
    const MutexLock lock(mutex_);
    side_ = *std::move(made);
    live_ = settings_;
    state_ = State::kOpen;
    // It may have been cancelled meanwhile, which nobody has told the session.
    if (cancelled_) side_->cancel(*cancelled_);
    return {};
}

OneSide* Migration::side() const {
    const MutexLock lock(mutex_);
    return side_.get();
}

Result<OneSide*> Migration::begin() {
    MIGRATE_TRY(open());
    const MutexLock lock(mutex_);
    if (state_ != State::kOpen) {
        return Error(ErrorKind::kUsage, "the migration has run: make another one");
    }
    state_ = State::kRunning;
    return side_.get();
}

void Migration::end(Status outcome) {
    const MutexLock lock(mutex_);
    outcome_ = std::move(outcome);
    state_ = State::kEnded;
    ended_.notify_all();
}

Status Migration::run_session(OneSide& side) {
    Status outcome = catching("the migration", [&] { return side.run(); });
    end(outcome);
    return outcome;
}

Status Migration::run() {
    MIGRATE_ASSIGN(OneSide* const side, begin());
    const SignalsBlocked blocked;
    return run_session(*side);
}

Status Migration::start() {
    MIGRATE_ASSIGN(OneSide* const side, begin());
    const SignalsBlocked blocked;
    auto thread = Thread::start(
        settings_.side() == Side::kSend ? "live_migration" : "incoming",
        [this, side](const std::stop_token&) {
            static_cast<void>(run_session(*side));
            return Status();
        },
        [](const Error&) {});
    if (!thread) {
        Status outcome = side->fail(std::move(thread).error());
        end(outcome);
        return outcome;
    }
    thread_ = *std::move(thread);
    return {};
}

std::optional<Status> Migration::wait(std::optional<std::chrono::milliseconds> timeout) const {
    MutexLock lock(mutex_);
    if (state_ == State::kNew || state_ == State::kOpen) return std::nullopt;
    const auto has_ended = [this]() REQUIRES(mutex_) { return state_ == State::kEnded; };
    if (!timeout) {
        ended_.wait(lock, has_ended);
    } else {
        ended_.wait_until(lock, std::chrono::steady_clock::now() + *timeout, has_ended);
    }
    if (state_ != State::kEnded) return std::nullopt;
    return outcome_;
}

void Migration::cancel(const std::string& reason) {
    OneSide* side = nullptr;
    {
        const MutexLock lock(mutex_);
        if (!cancelled_) cancelled_ = reason;
        side = side_.get();
    }
    if (side != nullptr) side->cancel(reason);
}

Status Migration::change(std::string_view option) {
    const MutexLock lock(mutex_);
    if (!side_) return Error(ErrorKind::kUsage, "the migration was not opened: set the option");
    Settings changed = *live_;
    MIGRATE_TRY(change_library_option(changed, option));
    if (changed.get<"auto-converge">() && given_.callbacks &&
        given_.callbacks->given.throttle == nullptr) {
        return Error(ErrorKind::kUsage, "auto-converge needs the callback throttle of the guest");
    }
    MIGRATE_TRY(side_->change(engine::make_tunables(changed)));
    live_ = std::move(changed);
    return {};
}

Status Migration::continue_switchover() {
    OneSide* const opened = side();
    if (opened == nullptr) return Error(ErrorKind::kUsage, "the migration was not opened");
    return opened->continue_switchover();
}

Result<engine::Report> Migration::report() const {
    const OneSide* const opened = side();
    if (opened == nullptr) {
        return Error(ErrorKind::kUsage, "there are no figures before migrate_open()");
    }
    engine::Report report = opened->report();
    const MutexLock lock(mutex_);
    SettingValues all = library_values(*live_);
    set_values(all, report.settings);
    report.settings = std::move(all);
    return report;
}

engine::GuestOwner Migration::owner() const {
    if (const OneSide* const opened = side()) return opened->owner();
    const bool has_guest = settings_.side() == Side::kSend && given_.callbacks != nullptr;
    return has_guest ? engine::GuestOwner::kSource : engine::GuestOwner::kNone;
}

std::string Migration::address() const {
    const OneSide* const opened = side();
    return opened == nullptr ? std::string() : opened->address();
}

}  // namespace migrate::lib
