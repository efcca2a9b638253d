// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/device_receiver.hpp"

namespace migrate::engine {
namespace {

using Clock = DeviceCounters::Clock;

template <typename Entries>
std::vector<devices::DeviceId> ids_of(const Entries& entries) {
    std::vector<devices::DeviceId> ids;
    ids.reserve(entries.size());
    for (const auto& entry : entries) ids.push_back(entry.id);
    return ids;
}

}  // namespace

DeviceReceiver::DeviceReceiver(std::vector<Entry> devices, std::uint64_t buffer_bytes,
                               std::chrono::milliseconds patience)
    : buffer_(ids_of(devices), buffer_bytes, patience) {
    for (Entry& entry : devices) {
        devices_.push_back(std::make_unique<Device>());
        devices_.back()->entry = std::move(entry);
    }
}

DeviceReceiver::~DeviceReceiver() { join(); }

Status DeviceReceiver::receive(const transport::DeviceChunkHeader& header, std::size_t bytes,
                               const Read& read, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const std::size_t which, buffer_.find({header.name, header.instance}));
    MIGRATE_ASSIGN(DeviceBuffer::Chunk chunk,
                   buffer_.admit(which, header.index, header.config, bytes, stop));
    Device& device = *devices_[which];
    const Clock::time_point began = Clock::now();
    Status received = read(chunk.content.bytes());
    if (!received) return std::move(received).error().with_context(transport::describe(header));
    DeviceCounters::add_since(device.counters.wire_us, began);
    DeviceCounters::add(device.counters.bytes, bytes);
    DeviceCounters::add(device.counters.chunks, 1);
    buffer_.insert(which, std::move(chunk));
    return {};
}

Status DeviceReceiver::start(ThreadTimes& times, Cancellation& cancellation) {
    buffer_.open();
    threads_.reserve(devices_.size());
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        MIGRATE_ASSIGN(SessionThread thread,
                       SessionThread::start(
                           "dev_load_" + devices_[i]->entry.id.text(), times, cancellation,
                           [this, i, &cancellation] { return load(i, cancellation.token()); }));
        threads_.push_back(std::move(thread));
    }
    return {};
}

Status DeviceReceiver::load(std::size_t which, const std::stop_token& stop) {
    Device& device = *devices_[which];
    const Clock::time_point began = Clock::now();
    Status loaded = load_chunks(which, stop);
    if (!loaded) return std::move(loaded).error().with_context(device.context());
    complete(device, began);
    return {};
}

Status DeviceReceiver::begin(Device& device, const std::stop_token& stop) {
    const Clock::time_point began = Clock::now();
    Status begun = device.entry.sink->begin(stop);
    if (!begun) return devices::own_error(std::move(begun).error());
    DeviceCounters::add_since(device.counters.load_us, began);
    return {};
}

Status DeviceReceiver::load_one(Device& device, bool config, std::span<const std::byte> content,
                                const std::stop_token& stop) {
    const Clock::time_point began = Clock::now();
    devices::DeviceSink& sink = *device.entry.sink;
    Status loaded = config ? sink.load_config(content, stop) : sink.load(content, stop);
    if (!loaded) return devices::own_error(std::move(loaded).error());
    DeviceCounters::add_since(config ? device.counters.config_us : device.counters.load_us, began);
    return {};
}

Status DeviceReceiver::load_chunks(std::size_t which, const std::stop_token& stop) {
    Device& device = *devices_[which];
    MIGRATE_TRY(begin(device, stop));
    while (true) {
        const Clock::time_point began = Clock::now();
        MIGRATE_ASSIGN(DeviceBuffer::Chunk chunk, buffer_.next(which, stop));
        DeviceCounters::add_since(device.counters.wait_us, began);
        const bool last = chunk.config;
        MIGRATE_TRY(load_one(device, last, chunk.content.bytes(), stop));
        buffer_.loaded(which, std::move(chunk));
        if (last) return {};
    }
}

void DeviceReceiver::complete(Device& device, Clock::time_point began) {
    DeviceCounters::add_since(device.counters.total_us, began);
    device.counters.complete.store(true, std::memory_order_relaxed);
    {
        const MutexLock lock(mutex_);
        ++completed_;
    }
    changed_.notify_all();
}

Status DeviceReceiver::await_complete(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    const auto all_complete = [this]() REQUIRES(mutex_) { return completed_ == devices_.size(); };
    if (changed_.wait(lock, stop, all_complete)) return {};
    return Error(ErrorKind::kCancelled, "cancelled");
}

Status DeviceReceiver::commit() {
    for (const auto& device : devices_) {
        Status committed = device->entry.sink->commit();
        if (committed) continue;
        return devices::own_error(std::move(committed).error()).with_context(device->context());
    }
    return {};
}

Status DeviceReceiver::load_in_turn(const transport::DeviceChunkHeader& header,
                                    std::span<const std::byte> chunk, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const std::size_t which, buffer_.find({header.name, header.instance}));
    if (which != turn_ || header.index != turn_index_) {
        const bool over = turn_ == devices_.size();
        return make_error(ErrorKind::kProtocol, "expected {}, got {}",
                          over ? "no more chunks"
                               : fmt::format("chunk {} of device {}", turn_index_,
                                             devices_[turn_]->entry.id.text()),
                          describe(header));
    }
    Device& device = *devices_[which];
    const auto load = [&]() -> Status {
        if (turn_index_ == 0) {
            turn_began_ = Clock::now();
            MIGRATE_TRY(begin(device, stop));
        }
        return load_one(device, header.config, chunk, stop);
    };
    Status loaded = load();
    if (!loaded) return std::move(loaded).error().with_context(device.context());
    DeviceCounters::add(device.counters.bytes, chunk.size());
    DeviceCounters::add(device.counters.chunks, 1);
    ++turn_index_;
    if (!header.config) return {};
    complete(device, turn_began_);
    ++turn_;
    turn_index_ = 0;
    return {};
}

Status DeviceReceiver::check_all_in_turn_loaded() const {
    if (turn_ == devices_.size()) return {};
    return make_error(ErrorKind::kProtocol, "expected chunk {} of device {}, got no more chunks",
                      turn_index_, devices_[turn_]->entry.id.text());
}

}  // namespace migrate::engine
