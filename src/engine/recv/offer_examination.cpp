// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/offer_examination.hpp"

#include <algorithm>

#include "base/catching.hpp"
#include "base/file_identity.hpp"
#include "base/log.hpp"
#include "devices/device_spec.hpp"
#include "engine/postcopy/recv_postcopy.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {
namespace {

// Checks that the sender does not read a file that the sink writes to or replaces. Called before
// the sink is prepared, which may clear the file. If one side does not know its boot id, equal
// device and inode numbers count as the same file.
Status check_not_the_source(const transport::Offer& offer, const memory::PageSink& sink) {
    const std::string here = boot_id();
    if (!offer.boot_id.empty() && !here.empty() && offer.boot_id != here) return {};
    MIGRATE_ASSIGN(const auto files, sink.files());
    for (const memory::SinkFile& file : files) {
        const auto same = std::find(offer.files.begin(), offer.files.end(), file.identity);
        if (same == offer.files.end()) continue;
        const auto region = static_cast<std::size_t>(same - offer.files.begin());
        return make_error(
            ErrorKind::kRefused,
            "source and sink are the same file: the sender's region '{}' lies in {} of this host; "
            "give {} memory or a file of its own",
            offer.regions[region].name, file.path, sink.description());
    }
    return {};
}

guest::GuestOffer guest_of(const transport::Offer& offer) {
    const bool simulated = std::any_of(
        offer.devices.begin(), offer.devices.end(),
        [](const auto& device) { return device.kind == name_of(devices::DeviceKind::kSimulated); });
    return {.kind = offer.guest,
            .machine = offer.machine,
            .settings = offer.settings.changed(),
            .comes_back = offer.journey.leg != 0,
            .simulated_devices = simulated};
}

// The host and the files of an image, for the journal of --resume.
std::string source_name(const transport::Offer& offer) {
    std::string name = fmt::format("host {}", offer.boot_id);
    for (const auto& file : offer.files) {
        if (file) name += fmt::format(", file {}:{}", file->device, file->inode);
    }
    return name;
}

}  // namespace

Result<transport::Offer> OfferExamination::examine(const std::string& body) {
    MIGRATE_ASSIGN(transport::Offer offer, transport::decode_offer(body));
    MIGRATE_TRY(check_name(offer));
    if (const auto buffer = offer.settings.get<"multifd-socket-buffer">();
        buffer != kAutoSocketBuffer) {
        MIGRATE_TRY(transport::check_socket_buffer(transport::BufferSide::kReceives, buffer));
    }
    if (!destination_.memory) {
        MIGRATE_ASSIGN(destination_, config_.open_destination());
    }
    const memory::PageSink& sink = *destination_.memory;
    if (sink.discards() && offer.settings.verify()) {
        return make_error(
            "sink {} keeps nothing that could be verified: use verify=none or another sink",
            sink.description());
    }
    MIGRATE_TRY(destination_.check(guest_of(offer)));
    MIGRATE_TRY(check_postcopy(offer, destination_));
    MIGRATE_TRY(check_not_the_source(offer, sink));
    MIGRATE_TRY(check_extras(offer));
    MIGRATE_TRY(check_journey(offer.journey));
    MIGRATE_TRY(prepare(offer));
    return offer;
}

Status OfferExamination::check_name(const transport::Offer& offer) const {
    if (config_.guest_name.empty() || config_.guest_name == offer.guest_name) return {};
    return make_error("this receiver waits for the guest '{}', and the sender has {} (guest-name)",
                      config_.guest_name,
                      offer.guest_name.empty() ? "no name" : fmt::format("'{}'", offer.guest_name));
}

Status OfferExamination::check_extras(const transport::Offer& offer) const {
    if (config_.extras.resume == memory::Resume::kYes && !offer.guest.empty()) {
        return make_error(
            "resume is for images, which do not change: start the receiver without it for {}",
            offer.guest);
    }
    if (!destination_.reuse) return {};
    MIGRATE_ASSIGN(const auto files, destination_.memory->files());
    MIGRATE_TRY(destination_.reuse->check_not_written(files));
    destination_.reuse->match(offer.regions);
    return {};
}

Status OfferExamination::prepare(const transport::Offer& offer) {
    MIGRATE_ASSIGN(const auto devices, devices_.check(offer));
    // An exception refuses this sender, as any other error does; the receiver waits for the next
    // one.
    Status prepared = catching("the sink", [&] {
        destination_.memory->obey(core_.token());
        destination_.memory->name_source(source_name(offer));
        Status memory = destination_.memory->prepare(offer.regions);
        if (memory) warn_of_little_room(offer);
        // The devices are opened last. If the sink failed after that, the process at the other end
        // of a device's pipe would see it opened and closed.
        return memory ? devices_.open(offer, devices) : memory;
    });
    // A sink is prepared once; the next sender gets a new one.
    if (!prepared) destination_ = {};
    return prepared;
}

void OfferExamination::warn_of_little_room(const transport::Offer& offer) {
    warnings_ = memory::room_warnings(total_bytes(offer.regions), destination_.memory->rooms());
    for (const std::string& warning : warnings_) log::warning("{}", warning);
}

Status OfferExamination::check_journey(const transport::Journey& journey) const {
    if (journey.leg == config_.expected_leg && journey.legs <= config_.most_legs) {
        // The result is not used yet: this checks the options while the sender can be refused.
        MIGRATE_TRY(tunables_for_way_back(journey.options));
        return {};
    }
    if (config_.expected_leg == 0) {
        return Error("the sender wants its guest back: start the receiver with --repeat, too");
    }
    if (journey.leg == 0) {
        return Error("this receiver was started with --repeat: start the sender with it, too");
    }
    return make_error("expected leg {} of at most {}, got leg {} of {} (repeat)",
                      config_.expected_leg, config_.most_legs, journey.leg, journey.legs);
}

}  // namespace migrate::engine
