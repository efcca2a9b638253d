// SPDX-License-Identifier: Apache-2.0
#include "guest/bundle/bundle_destination.hpp"

#include <memory>
#include <string>
#include <utility>

#include "base/log.hpp"
#include "guest/bundle/bundle_writer.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/workload.hpp"
#include "memory/sink/files_sink.hpp"

namespace migrate::guest {
namespace {

// The guest that is in the bundle. It does not run there.
class ParkedGuest final : public Guest {
  public:
    explicit ParkedGuest(std::shared_ptr<BundleWriter> writer) : writer_(std::move(writer)) {}

    std::string_view kind() const override { return writer_->guest(); }
    bool lives_here() const override { return false; }
    bool running() const override { return false; }
    Status pause() override { return {}; }
    Status resume() override {
        MIGRATE_TRY(writer_->publish());
        log::info("the guest is in the bundle {}: it can be loaded from there", writer_->path());
        return {};
    }
    Status throttle(unsigned) override { return {}; }
    Result<std::string> save_state() override {
        return Error("a guest that was parked is loaded by --source bundle:DIR");
    }
    Activity activity() const override { return {}; }
    Status check() override { return {}; }

  private:
    std::shared_ptr<BundleWriter> writer_;
};

class BundleLoader final : public GuestLoader {
  public:
    BundleLoader(std::shared_ptr<BundleWriter> writer, const memory::FilesSink& memory)
        : writer_(std::move(writer)), memory_(memory) {}

    Status check_ready(const GuestOffer& offer) override {
        if (offer.kind != kWorkloadKind && offer.kind != kQemuKind) {
            return make_error(
                "a bundle takes a guest of QEMU or the built-in guest, and this is {}",
                offer.kind.empty() ? std::string("a memory image: use the sink file:PATH")
                                   : fmt::format("one of '{}'", offer.kind));
        }
        if (offer.comes_back) {
            return make_error("a bundle sends no guest back: start the sender without --repeat");
        }
        if (offer.simulated_devices) {
            return make_error(
                "a bundle cannot keep simulated devices: start the sender without --devices sim:");
        }
        writer_->describe(offer);
        return {};
    }

    Result<std::unique_ptr<Guest>> load(std::string_view state, const std::stop_token&) override {
        MIGRATE_TRY(writer_->complete(memory_, state));
        return std::unique_ptr<Guest>(std::make_unique<ParkedGuest>(writer_));
    }

  private:
    std::shared_ptr<BundleWriter> writer_;
    const memory::FilesSink& memory_;
};

}  // namespace

Result<Destination> open_bundle_destination(std::string_view uri, const ParsedForm& parsed) {
    MIGRATE_ASSIGN(auto writer, BundleWriter::create(parsed.operand.value.text));
    auto memory = std::make_unique<memory::FilesSink>(
        uri, [writer](std::size_t region) { return writer->make_region(region); });
    auto loader = std::make_unique<BundleLoader>(std::move(writer), *memory);
    return Destination{std::move(memory), std::move(loader)};
}

}  // namespace migrate::guest
