// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/queue_info.hpp"

#include <fstream>

#include "accel/dsa/device_portal.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::accel::dsa {
namespace {

using Catch::Matchers::Contains;
namespace fs = std::filesystem;

// The files of one device with one queue, as a kernel shows them.
class MadeUpSysfs {
  public:
    MadeUpSysfs() {
        places = {folder_ / "devices", folder_ / "dev"};
        fs::create_directories(places.sysfs / "dsa0/wq0.1");
        fs::create_directories(places.nodes);
        device("state", "enabled");
        device("version", "0x100");
        device("pasid_enabled", "1");
        device("numa_node", "1");
        device("max_batch_size", "1024");
        device("max_transfer_size", "2147483648");
        queue("state", "enabled");
        queue("type", "user");
        queue("mode", "shared");
        queue("size", "128");
        queue("threshold", "100");
        queue("clients", "0");
        queue("max_batch_size", "32");
        queue("max_transfer_size", "2097152");
        std::ofstream(places.nodes / "wq0.1");
    }

    void device(const char* file, const std::string& text) { write("dsa0", file, text); }
    void queue(const char* file, const std::string& text) { write("dsa0/wq0.1", file, text); }
    void remove(const char* file) { fs::remove(places.sysfs / "dsa0/wq0.1" / file); }
    QueueInfo info() const { return must(read_queue_info("wq0.1", places)); }
    std::string obstacle() const {
        const auto found = find_obstacle(info());
        return found ? found->reason + "; " + found->remedy : "";
    }

    Places places;

  private:
    void write(const char* folder, const char* file, const std::string& text) {
        std::ofstream(places.sysfs / folder / file) << text << '\n';
    }
    TemporaryFolder folder_;
};

TEST_CASE("a queue's limits are the smaller of its own and its device's") {
    MadeUpSysfs sysfs;
    const QueueInfo info = sysfs.info();
    CHECK(info.device == "dsa0");
    CHECK(info.path == (sysfs.places.nodes / "wq0.1").native());
    CHECK(info.version == 0x100);
    CHECK(info.numa_node == 1);
    CHECK(info.limits.mode == QueueMode::kShared);
    CHECK(info.limits.entries == 100);
    CHECK(info.limits.batch == 32);
    CHECK(info.limits.transfer_bytes == 2'097'152);
    CHECK(sysfs.obstacle().empty());

    sysfs.queue("mode", "dedicated");
    sysfs.device("max_batch_size", "16");
    CHECK(sysfs.info().limits.entries == 128);
    CHECK(sysfs.info().limits.batch == 16);
}

TEST_CASE("a number that is missing or no number is not taken for a huge one") {
    MadeUpSysfs sysfs;
    sysfs.remove("max_batch_size");
    sysfs.queue("max_transfer_size", "-22");
    sysfs.queue("threshold", "");
    CHECK(sysfs.info().limits.batch == 1);
    CHECK(sysfs.info().limits.transfer_bytes == 1);
    CHECK(sysfs.info().limits.entries == 128);
    sysfs.device("numa_node", "99999999999");
    CHECK(sysfs.info().numa_node >= -1);
}

TEST_CASE("a queue or device that is disabled later is named") {
    MadeUpSysfs sysfs;
    const QueueInfo info = sysfs.info();
    CHECK(what_is_disabled(info, sysfs.places).empty());
    sysfs.queue("state", "disabled");
    CHECK(what_is_disabled(info, sysfs.places) == "the queue is disabled");
    sysfs.device("state", "halted");
    CHECK(what_is_disabled(info, sysfs.places) == "the device dsa0 is halted");
    fs::remove_all(sysfs.places.sysfs);
    CHECK(what_is_disabled(info, sysfs.places).empty());
}

TEST_CASE("every obstacle is named with what removes it") {
    MadeUpSysfs sysfs;
    SECTION("the device") {
        sysfs.device("state", "disabled");
        CHECK(sysfs.obstacle() == "the device dsa0 is disabled; accel-config enable-device dsa0");
    }
    SECTION("the queue") {
        sysfs.queue("state", "disabled");
        CHECK(sysfs.obstacle() == "the queue is disabled; accel-config enable-wq dsa0/wq0.1");
    }
    SECTION("its type") {
        sysfs.queue("type", "kernel");
        CHECK_THAT(sysfs.obstacle(), Contains("type kernel, not user") &&
                                         Contains("config-wq dsa0/wq0.1") && Contains("-y user"));
    }
    SECTION("shared virtual addresses") {
        sysfs.device("pasid_enabled", "0");
        CHECK_THAT(sysfs.obstacle(), Contains("intel_iommu=on,sm_on"));
    }
    SECTION("transfers smaller than a page") {
        sysfs.queue("max_transfer_size", "2048");
        CHECK_THAT(sysfs.obstacle(), Contains("2048 bytes"));
    }
    SECTION("a dedicated queue that another process uses") {
        sysfs.queue("mode", "dedicated");
        sysfs.queue("clients", "1");
        CHECK_THAT(sysfs.obstacle(), Contains("serves one process"));
    }
    SECTION("the node") {
        fs::remove(sysfs.places.nodes / "wq0.1");
        CHECK_THAT(sysfs.obstacle(), Contains("does not exist"));
    }
    // Opening the queue reports the same obstacle.
    CHECK_THAT(message_of(open_device_portal(sysfs.info())), Contains(sysfs.obstacle()));
}

TEST_CASE("a path that is not a queue or does not exist is refused by name") {
    MadeUpSysfs sysfs;
    for (const char* name : {"", "wq", "wq0", "wq0.", "wq.1", "wq0.1x", "../wq0.1", "wq0.1/..",
                             "wq9999999999999.1", "dsa0"}) {
        CAPTURE(name);
        const auto info = read_queue_info(name, sysfs.places);
        REQUIRE_FALSE(info);
        CHECK(info.error().kind() == ErrorKind::kUsage);
    }
    CHECK_THAT(message_of(read_queue_info("wq0.2", sysfs.places)),
               Contains("dsa0 has other queues"));
    CHECK_THAT(message_of(read_queue_info("wq1.0", sysfs.places)), Contains("lspci -d 8086:0b25"));
    CHECK_THAT(message_of(read_queue_info("wq0.1", {sysfs.places.sysfs / "none", ""})),
               Contains("modprobe idxd"));
}

TEST_CASE("a node that is no portal is found out by the probe, not by a crash") {
    MadeUpSysfs sysfs;
    // An empty file: its mapping raises SIGBUS.
    CHECK_THAT(message_of(open_device_portal(sysfs.info(), std::chrono::milliseconds(10))),
               (Contains("wq0.1") && Contains("CMD")) || Contains("NOOP"));
    sysfs.queue("mode", "dedicated");
    CHECK_THAT(message_of(open_device_portal(sysfs.info(), std::chrono::milliseconds(10))),
               Contains("MOVDIR64B") || Contains("NOOP"));
}

TEST_CASE("an operation is looked up in the words of op_cap, the last word first") {
    const std::string words =
        "00000000,00000000,00000000,00000000,00000000,00000000,00000001,003f027d";
    CHECK(has_operation(words, Opcode::kCompval) == true);
    CHECK(has_operation(words, Opcode::kBatch) == false);
    CHECK(has_operation(words, Opcode::kCacheFlush) == true);
    CHECK(has_operation("40", Opcode::kCompval) == true);
    CHECK(has_operation("3f", Opcode::kCompval) == false);
    CHECK_FALSE(has_operation("40", Opcode::kCacheFlush));
    for (const char* wrong : {"", "x", "12 34", ",", "1ffffffff"})
        CHECK_FALSE(has_operation(wrong, Opcode::kCompval));
}

TEST_CASE("a queue that says that it does not execute COMPVAL is an obstacle") {
    MadeUpSysfs sysfs;
    sysfs.device("op_cap", "00000000,0000023d");
    CHECK_THAT(sysfs.obstacle(),
               Contains("does not execute COMPVAL (operations 00000000,0000023d)"));
    // The queue's own setting counts.
    sysfs.queue("op_config", "00000000,0000027d");
    CHECK(sysfs.obstacle().empty());
    sysfs.queue("op_config", "00000000,0000023d");
    CHECK_THAT(sysfs.obstacle(), Contains("--op-config"));
}

TEST_CASE("the processor of a device is named by its PCI number") {
    MadeUpSysfs sysfs;
    CHECK(sysfs.info().model.empty());
    const auto model = [&](const char* number) {
        std::ofstream(sysfs.places.sysfs / "device") << number << '\n';
        return sysfs.info().model;
    };
    CHECK(model("0x0b25") == "Sapphire, Emerald or Granite Rapids");
    CHECK(model("0x11fb") == "Granite Rapids D");
    CHECK(model("0x1212") == "Diamond Rapids");
    CHECK(model("0x1213").empty());
}

}  // namespace
}  // namespace migrate::accel::dsa
