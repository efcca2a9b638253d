// SPDX-License-Identifier: Apache-2.0
#include "lib/callback_guest.hpp"

#include <utility>

#include "base/device_limits.hpp"

namespace migrate::lib {
namespace {

constexpr std::size_t kMaxKindBytes = 48;

}  // namespace

Result<Callbacks> copy_callbacks(const struct migrate_guest& guest) {
    const std::string_view kind = guest.kind == nullptr ? "" : guest.kind;
    if (!is_device_name(kind) || kind.size() > kMaxKindBytes) {
        return make_error(ErrorKind::kUsage,
                          "the guest's kind has 1 … {} letters, digits and \"._:-\"",
                          kMaxKindBytes);
    }
    const bool some = guest.dirty_start != nullptr || guest.dirty_collect != nullptr ||
                      guest.dirty_stop != nullptr;
    const bool all = guest.dirty_start != nullptr && guest.dirty_collect != nullptr &&
                     guest.dirty_stop != nullptr;
    if (some && !all) {
        return Error(ErrorKind::kUsage,
                     "dirty_start, dirty_collect and dirty_stop belong together: give all or none");
    }
    return Callbacks{.given = guest, .kind = "vmm:" + std::string(kind)};
}

Status CallbackGuest::pause() {
    if (!running_) return {};
    MIGRATE_TRY(call_back(*callbacks_, "pause", [&](char* error) {
        return callbacks_->given.pause(callbacks_->given.opaque, error);
    }));
    running_ = false;
    return {};
}

Status CallbackGuest::resume() {
    if (running_) return {};
    int code = 0;
    Status resumed = call_back(*callbacks_, "resume", [&](char* error) {
        return code = callbacks_->given.resume(callbacks_->given.opaque, error);
    });
    if (!resumed) {
        const bool unknown = origin_ == Origin::kArrived && code == MIGRATE_OWNER_UNKNOWN;
        return unknown ? std::move(resumed).error().as(ErrorKind::kOwnerUnknown)
                       : std::move(resumed).error();
    }
    running_ = true;
    return {};
}

Status CallbackGuest::throttle(unsigned percent) {
    if (callbacks_->given.throttle == nullptr) {
        return Error("the VMM cannot throttle its guest");
    }
    return call_back(*callbacks_, "throttle", [&](char* error) {
        return callbacks_->given.throttle(callbacks_->given.opaque, percent, error);
    });
}

Result<std::string> CallbackGuest::save_state() {
    migrate_buffer buffer;
    MIGRATE_TRY(call_back(*callbacks_, "save_state", [&](char* error) {
        return callbacks_->given.save_state(callbacks_->given.opaque, &buffer, error);
    }));
    if (buffer.failed) {
        return make_error("the guest's state is larger than {} MiB, or there is no memory for it",
                          guest::kMaxStateBytes / kMiB);
    }
    return std::move(buffer.bytes);
}

guest::Activity CallbackGuest::activity() const {
    return {.run_time =
                std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began_)};
}

Status CallbackLoader::check_ready(const guest::GuestOffer& offer) {
    const std::string_view here = callbacks_ ? std::string_view(callbacks_->kind) : "";
    if (offer.kind == here) return {};
    const auto called = [](std::string_view kind) {
        return kind.empty() ? std::string("memory without a guest")
                            : fmt::format("a guest of kind '{}'", kind);
    };
    return make_error(ErrorKind::kRefused, "the sender has {}, and this side takes {}",
                      called(offer.kind), called(here));
}

Result<std::unique_ptr<guest::Guest>> CallbackLoader::load(std::string_view state,
                                                           const std::stop_token& stop) {
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    MIGRATE_TRY(call_back(*callbacks_, "load_state", [&](char* error) {
        return callbacks_->given.load_state(callbacks_->given.opaque, state.data(), state.size(),
                                            error);
    }));
    return std::unique_ptr<guest::Guest>(
        std::make_unique<CallbackGuest>(callbacks_, CallbackGuest::Origin::kArrived));
}

}  // namespace migrate::lib
