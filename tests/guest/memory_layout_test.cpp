// SPDX-License-Identifier: Apache-2.0
// The memory of a QEMU according to its answers, and disks that write memory past its page tables.
#include "guest/qemu/memory_layout.hpp"

#include <functional>

#include "base/units.hpp"
#include "guest/qemu/qemu_devices.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;

Json dimm(const std::string& id, const std::string& backend) {
    return {{"type", "dimm"},
            {"data",
             {{"id", id},
              {"addr", std::uint64_t{1} << 32},
              {"slot", 0},
              {"node", 0},
              {"memdev", "/objects/" + backend},
              {"hotplugged", true},
              {"size", 128 * kMiB}}}};
}

Json virtio_mem(std::uint64_t requested, std::uint64_t size) {
    return {{"type", "virtio-mem"},
            {"data",
             {{"id", "v0"},
              {"memaddr", std::uint64_t{1} << 33},
              {"requested-size", requested},
              {"size", size},
              {"max-size", 512 * kMiB},
              {"memdev", "/objects/vmem"}}}};
}

MemoryBackend backend(const std::string& id, std::uint64_t size = 128 * kMiB) {
    return {id, size, true, "memory-backend-file", "/dev/shm/" + id};
}

MemoryLayout layout() {
    return {{backend("m", 256 * kMiB), backend("d"), backend("vmem", 512 * kMiB)},
            parse_memory_devices(Json::array({dimm("d0", "d"), virtio_mem(0, 0)})),
            384 * kMiB};
}

std::string difference(const std::function<void(MemoryLayout&)>& change) {
    MemoryLayout now = layout();
    change(now);
    const Status same = check_same_layout(layout(), now);
    return same ? "none" : same.error().message();
}

TEST_CASE("memory that is the same in another order is no difference") {
    CHECK(difference([](MemoryLayout& now) {
              std::swap(now.backends.front(), now.backends.back());
              std::swap(now.devices.front(), now.devices.back());
          }) == "none");
}

TEST_CASE("memory that was plugged, unplugged or resized is named by its backend") {
    CHECK(difference([](MemoryLayout& now) { now.backends.push_back(backend("x")); }) ==
          "a memory backend 'x' (128 MiB) was added");
    CHECK(difference([](MemoryLayout& now) {
              now.backends.push_back(backend("x"));
              now.devices.push_back(parse_memory_devices(Json::array({dimm("d1", "x")})).front());
          }) == "a dimm device 'd1' of the memory backend 'x' was plugged");
    CHECK(difference([](MemoryLayout& now) { now.backends.erase(now.backends.begin() + 1); }) ==
          "its memory backend 'd' (128 MiB) was removed");
    CHECK(difference([](MemoryLayout& now) { now.devices.erase(now.devices.begin()); }) ==
          "its dimm device 'd0' of the memory backend 'd' was unplugged");
    CHECK(difference([](MemoryLayout& now) {
              now.devices.back() =
                  parse_memory_devices(Json::array({virtio_mem(64 * kMiB, 0)})).front();
          }) ==
          "its virtio-mem device 'v0' of the memory backend 'vmem' was changed: "
          "requested-size was 0, and is 67108864 now");
    CHECK(difference([](MemoryLayout& now) { now.backends[1].size_bytes *= 2; }) ==
          "its memory backend 'd' had 128 MiB, and has 256 MiB now");
    CHECK(difference([](MemoryLayout& now) { now.backends[1].path = "/dev/shm/other"; }) ==
          "its memory backend 'd' was replaced: it was memory-backend-file (/dev/shm/d), and is "
          "memory-backend-file (/dev/shm/other) now");
    CHECK(difference([](MemoryLayout& now) { now.backends[1].shared = false; }) != "none");
    CHECK(difference([](MemoryLayout& now) { now.bytes += 1; }) ==
          "it had 384 MiB of guest memory, and has 402653185 bytes now");
}

TEST_CASE("a loaded guest decides how much of a virtio-mem is plugged, and of nothing else") {
    MemoryLayout now = layout();
    now.devices.back() =
        parse_memory_devices(Json::array({virtio_mem(64 * kMiB, 32 * kMiB)})).front();
    now.bytes += 32 * kMiB;
    CHECK(check_same_layout(layout(), now, LayoutSince::kLoaded));
    CHECK_FALSE(check_same_layout(layout(), now));
    now.devices.front() = parse_memory_devices(Json::array({dimm("d0", "m")})).front();
    CHECK_FALSE(check_same_layout(layout(), now, LayoutSince::kLoaded));
}

TEST_CASE("memory devices of an unknown shape are compared all the same") {
    const auto parse = [](const char* text) { return parse_memory_devices(Json::parse(text)); };
    CHECK(parse(R"([7, null, {}, {"type": "new"}])").size() == 4);
    const MemoryLayout then{{}, parse(R"([{"type": "new", "data": {"a": 1, "b": 2}}])"), 0};
    CHECK(
        check_same_layout(then, {{}, parse(R"([{"type": "new", "data": {"b": 2, "a": 1}}])"), 0}));
    CHECK_FALSE(
        check_same_layout(then, {{}, parse(R"([{"type": "new", "data": {"a": 1, "b": 3}}])"), 0}));
}

Json node(const std::string& driver, bool direct) {
    return {{"node-name", "n"},
            {"drv", driver},
            {"file", "/disk"},
            {"cache", {{"writeback", true}, {"direct", direct}, {"no-flush", false}}}};
}

TEST_CASE("a block node with direct I/O is found below formats and filters") {
    const auto found = [](std::initializer_list<Json> nodes) {
        return !direct_io_of(Json(nodes)).empty();
    };
    CHECK(direct_io_of(Json::array()).empty());
    CHECK_FALSE(found({node("qcow2", false), node("file", false)}));
    for (const char* driver : {"file", "host_device", "host_cdrom", "iscsi", "a-new-driver"}) {
        INFO(driver);
        CHECK_FALSE(found({node(driver, false)}));
        CHECK(found({node("qcow2", true), node("throttle", false), node(driver, true)}));
    }
    // A format says what it would like; the file below it says what is done.
    CHECK_FALSE(found({node("qcow2", true), node("file", false)}));
    CHECK_FALSE(found({node("nbd", true), node("rbd", true), node("null-co", true)}));
    for (const char* driver : {"nvme", "nvme-io_uring", "io_uring", "virtio-blk-vhost-user",
                               "virtio-blk-vhost-vdpa", "virtio-blk-vfio-pci"}) {
        INFO(driver);
        CHECK(found({node("raw", false), node(driver, false)}));
    }
    CHECK_THAT(direct_io_of(Json::array({node("file", true)})),
               Catch::Contains("its block node 'n' (file, /disk) uses direct I/O"));
}

TEST_CASE("a block node of an unknown shape counts as direct I/O") {
    for (const char* text : {R"([7])", R"([{}])", R"([{"drv": "file"}])"}) {
        INFO(text);
        CHECK_FALSE(direct_io_of(Json::parse(text)).empty());
    }
}

}  // namespace
}  // namespace migrate::guest
