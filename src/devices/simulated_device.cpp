// SPDX-License-Identifier: Apache-2.0
#include "devices/simulated_device.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/little_endian.hpp"
#include "base/splitmix64.hpp"

namespace migrate::devices {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// The content repeats after this many bytes, except for a tag at the start of each block. So making
// and checking it costs little beside moving it.
constexpr std::size_t kBlockBytes = std::size_t{64} * 1024;
constexpr std::size_t kTagBytes = 8;

constexpr std::uint32_t kSimulatedMagic = 0x4D49534D;  // "MSIM"
constexpr std::size_t kSimulatedConfigBytes = 20;      // magic, size, seed

// The content of the state at every offset.
class Content {
  public:
    Content(const DeviceId& id, std::uint64_t seed) : seed_(splitmix64(seed + id.instance)) {
        for (const char c : id.name) seed_ = splitmix64(seed_ ^ static_cast<unsigned char>(c));
        for (std::size_t at = 0; at < kBlockBytes; at += 8) {
            store_le(&block_[at], splitmix64(seed_ + at));
        }
    }

    void fill(std::uint64_t offset, std::span<std::byte> to) {
        for_each_block(offset, to.size(), [&](std::size_t at, std::span<const std::byte> bytes) {
            std::memcpy(&to[at], bytes.data(), bytes.size());
            return true;
        });
    }
    // Returns the index of the first wrong byte, or the size if there is none.
    std::size_t first_difference(std::uint64_t offset, std::span<const std::byte> from) {
        std::size_t found = from.size();
        for_each_block(offset, from.size(), [&](std::size_t at, std::span<const std::byte> bytes) {
            if (std::memcmp(&from[at], bytes.data(), bytes.size()) == 0) return true;
            const auto [wrong, right] = std::mismatch(
                bytes.begin(), bytes.end(), from.begin() + static_cast<std::ptrdiff_t>(at));
            static_cast<void>(right);
            found = at + static_cast<std::size_t>(wrong - bytes.begin());
            return false;
        });
        return found;
    }

  private:
    template <typename Visit>
    void for_each_block(std::uint64_t offset, std::size_t size, const Visit& visit) {
        std::size_t at = 0;
        while (at < size) {
            const std::uint64_t block = (offset + at) / kBlockBytes;
            const std::size_t within = (offset + at) % kBlockBytes;
            const std::size_t count = std::min(size - at, kBlockBytes - within);
            store_le(block_.data(), splitmix64(seed_ ^ block));
            if (!visit(at, std::span<const std::byte>(block_).subspan(within, count))) return;
            at += count;
        }
    }

    std::uint64_t seed_;
    std::vector<std::byte> block_ = std::vector<std::byte>(kBlockBytes);  // its tag is overwritten
};
static_assert(kTagBytes == sizeof(std::uint64_t));

// The times that one device takes on one host.
class Pace {
  public:
    Pace(const SimulatedSpec& spec, std::uint64_t rate, std::shared_ptr<SharedBus> bus)
        : spec_(spec), rate_(rate), busy_(std::move(bus), spec.serialised / 100.0) {}

    Status begin(const std::stop_token& stop) {
        return busy_.pass(milliseconds(spec_.fixed_ms), stop);
    }
    Status chunk(std::size_t bytes, const std::stop_token& stop,
                 const std::function<Status()>& work) {
        nanoseconds cost{0};
        if (rate_ != 0) {
            cost = nanoseconds(static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 /
                                                         static_cast<double>(rate_)));
        }
        if (spec_.jitter_ms != 0) {
            random_ = splitmix64(random_);
            const auto span = static_cast<std::uint64_t>(nanoseconds(milliseconds(1)).count());
            cost += nanoseconds(static_cast<std::int64_t>(random_ % (spec_.jitter_ms * span)));
        }
        return busy_.pass(cost, stop, work);
    }

  private:
    SimulatedSpec spec_;
    std::uint64_t rate_;
    BusyTime busy_;
    std::uint64_t random_ =
        static_cast<std::uint64_t>(BusyTime::Clock::now().time_since_epoch().count());
};

class SimulatedSource final : public DeviceSource {
  public:
    SimulatedSource(const DeviceId& id, const SimulatedSpec& spec, std::shared_ptr<SharedBus> bus)
        : spec_(spec), content_(id, spec.seed), pace_(spec, spec.save_rate, std::move(bus)) {}

    Status begin(const std::stop_token& stop) override { return pace_.begin(stop); }

    Result<std::size_t> save(std::span<std::byte> buffer, const std::stop_token& stop) override {
        const std::size_t size = std::min<std::uint64_t>(buffer.size(), spec_.size_bytes - offset_);
        if (size == 0) return size;
        MIGRATE_TRY(pace_.chunk(size, stop, [&] {
            content_.fill(offset_, buffer.first(size));
            return Status();
        }));
        offset_ += size;
        if (spec_.fail_save != 0 && offset_ >= spec_.fail_save) {
            return make_error("fails at byte {} of its state, as fail-save requests",
                              spec_.fail_save);
        }
        return size;
    }

    Result<std::size_t> save_config(std::span<std::byte> buffer, const std::stop_token&) override {
        if (buffer.size() < kSimulatedConfigBytes)
            return make_error("no room for the configuration");
        store_le(&buffer[0], kSimulatedMagic);
        store_le(&buffer[4], spec_.size_bytes);
        store_le(&buffer[12], spec_.seed);
        return kSimulatedConfigBytes;
    }

  private:
    SimulatedSpec spec_;
    Content content_;
    Pace pace_;
    std::uint64_t offset_ = 0;
};

class SimulatedSink final : public DeviceSink {
  public:
    SimulatedSink(const DeviceId& id, const SimulatedSpec& spec, std::shared_ptr<SharedBus> bus)
        : spec_(spec), content_(id, spec.seed), pace_(spec, spec.load_rate, std::move(bus)) {}

    Status begin(const std::stop_token& stop) override { return pace_.begin(stop); }

    Status load(std::span<const std::byte> chunk, const std::stop_token& stop) override {
        if (chunk.size() > spec_.size_bytes - offset_) {
            return make_error("its state is longer than the {} bytes that it has",
                              spec_.size_bytes);
        }
        MIGRATE_TRY(pace_.chunk(chunk.size(), stop, [&]() -> Status {
            const std::size_t wrong = content_.first_difference(offset_, chunk);
            if (wrong == chunk.size()) return {};
            return make_error("byte {} of its state is wrong", offset_ + wrong);
        }));
        offset_ += chunk.size();
        if (spec_.fail_load != 0 && offset_ >= spec_.fail_load) {
            return make_error("fails at byte {} of its state, as fail-load requests",
                              spec_.fail_load);
        }
        return {};
    }

    Status load_config(std::span<const std::byte> config, const std::stop_token&) override {
        if (config.size() != kSimulatedConfigBytes ||
            load_le<std::uint32_t>(config.data()) != kSimulatedMagic ||
            load_le<std::uint64_t>(&config[4]) != spec_.size_bytes ||
            load_le<std::uint64_t>(&config[12]) != spec_.seed) {
            return make_error("its configuration belongs to another device");
        }
        if (offset_ == spec_.size_bytes) return {};
        return make_error("{} of {} bytes of its state arrived", offset_, spec_.size_bytes);
    }

  private:
    SimulatedSpec spec_;
    Content content_;
    Pace pace_;
    std::uint64_t offset_ = 0;
};

}  // namespace

std::unique_ptr<DeviceSource> make_simulated_source(const DeviceId& id, const SimulatedSpec& spec,
                                                    std::shared_ptr<SharedBus> bus) {
    return std::make_unique<SimulatedSource>(id, spec, std::move(bus));
}

std::unique_ptr<DeviceSink> make_simulated_sink(const DeviceId& id, const SimulatedSpec& spec,
                                                std::shared_ptr<SharedBus> bus) {
    return std::make_unique<SimulatedSink>(id, spec, std::move(bus));
}

}  // namespace migrate::devices
