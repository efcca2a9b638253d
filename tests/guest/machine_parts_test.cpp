// SPDX-License-Identifier: Apache-2.0
// Which machines count as the same, and which difference is named.
#include "guest/qemu/machine_parts.hpp"

#include <algorithm>

#include "guest/qemu/device_tree.hpp"
#include "guest/qemu/machine_comparison.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;
using qmp::Json;

constexpr std::string_view kTree = R"(bus: main-system-bus
  type System
  dev: hpet, id ""
    timers = 3 (0x3)
  dev: ioapic, id ""
  dev: q35-pcihost, id ""
    bypass-iommu = false
    bus: pcie.0
      type PCIE
      dev: qemu-xhci, id "usb"
        addr = 03.0
        p2 = 4 (0x4)
        class USB controller, addr 00:03.0, pci id 1b36:000d (sub 1af4:1100)
        bus: usb.0
          type usb-bus
          dev: usb-tablet, id ""
            port = ""
            addr 0.0, port 1, speed 480, name QEMU USB Tablet, attached
      dev: pcie-root-port, id "rp1"
        addr = 01.0
        chassis = 1 (0x1)
        busnr = 0 (0x0)
        bus: rp1
          type PCIE
          dev: virtio-net-pci, id "net0"
            ioeventfd = true
            vectors = 4 (0x4)
            x-pcie-flr-init = true
            disable-legacy = "on"
            addr = 00.0
            bus: virtio-bus
              type virtio-pci-bus
              dev: virtio-net-device, id ""
                mq = false
                mac = "52:54:00:12:34:56"
                netdev = "n"
      dev: virtio-scsi-pci, id ""
        addr = 04.0
        bus: virtio-bus
          type virtio-pci-bus
          dev: virtio-scsi-device, id ""
            num_queues = 1 (0x1)
            bus: scsi.0
              type SCSI
              dev: scsi-hd, id ""
                channel = 0 (0x0)
                scsi-id = 2 (0x2)
                lun = 0 (0x0)
      dev: ICH9-LPC, id ""
        addr = 1f.0
        bus: isa.0
          type ISA
          dev: port92, id ""
          dev: isa-serial, id ""
            index = 0 (0x0)
            iobase = 1016 (0x3f8)
)";

AddedDevices added() {
    return parse_added(Json::array({{{"name", "type"}, {"type", "string"}},
                                    {{"name", "usb"}, {"type", "child<qemu-xhci>"}},
                                    {{"name", "rp1"}, {"type", "child<pcie-root-port>"}},
                                    {{"name", "net0"}, {"type", "child<virtio-net-pci>"}}}),
                       Json::array({{{"name", "device[0]"}, {"type", "child<usb-tablet>"}},
                                    {{"name", "device[1]"}, {"type", "child<virtio-scsi-pci>"}},
                                    {{"name", "device[2]"}, {"type", "child<scsi-hd>"}},
                                    {{"name", "device[3]"}, {"type", "child<vmcoreinfo>"}}}));
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
    const std::size_t at = text.find(what);
    REQUIRE(at != text.npos);
    return text.replace(at, what.size(), by);
}

// Numbers that were parsed are unsigned.
Json as_qemu_answers(const Json& json) { return Json::parse(json.dump()); }

MachinePart cpus_of(int sockets, int cores, int plugged) {
    Json slots = Json::array();
    for (int i = sockets * cores - 1; i >= 0; --i) {
        Json slot = {
            {"type", "qemu64-x86_64-cpu"},
            {"props", {{"socket-id", i / cores}, {"core-id", i % cores}, {"thread-id", 0}}}};
        if (i < plugged) slot["qom-path"] = "/machine/unattached/device[0]";
        slots.push_back(slot);
    }
    return parse_cpus(as_qemu_answers(slots));
}

std::vector<MachinePart> machine(const std::string& tree = std::string(kTree),
                                 MachinePart cpus = cpus_of(1, 2, 2)) {
    std::vector<MachinePart> parts{{.place = std::string(kMachinePlace),
                                    .type = "pc-q35-10.0",
                                    .name = {},
                                    .properties = {{std::string(kDevicesListed), "yes"}}},
                                   std::move(cpus)};
    for (MachinePart& part : parse_devices(tree, added())) parts.push_back(std::move(part));
    return parts;
}

const MachinePart& at(const std::vector<MachinePart>& parts, std::string_view place) {
    const auto found = std::find_if(parts.begin(), parts.end(),
                                    [&](const MachinePart& part) { return part.place == place; });
    INFO(place);
    REQUIRE(found != parts.end());
    return *found;
}

std::string difference(const std::vector<MachinePart>& sender,
                       const std::vector<MachinePart>& here) {
    const Status same = compare_machines(sender, here, "QEMU (pid 7)");
    if (same) return {};
    CHECK(same.error().kind() == ErrorKind::kRefused);
    CHECK_THAT(same.error().message(), Contains("start QEMU (pid 7) with the sender's"));
    return same.error().message();
}

TEST_CASE("a device is known by the buses and addresses that lead to it") {
    const auto parts = machine();
    CHECK(at(parts, "pcie.0/01.0/00.0").type == "virtio-net-pci");
    CHECK(at(parts, "pcie.0/01.0/00.0").name == "net0");
    CHECK(at(parts, "pcie.0/03.0/port 1").type == "usb-tablet");
    CHECK(at(parts, "pcie.0/04.0/0:2:0").type == "scsi-hd");
    CHECK(at(parts, "pcie.0/1f.0/iobase 1016").type == "isa-serial");
    CHECK(at(parts, "main-system-bus/hpet").type == "hpet");
    CHECK(at(parts, "no bus/vmcoreinfo").type == "vmcoreinfo");
    // The board's own devices off PCI belong to the machine's type.
    for (const MachinePart& part : parts) CHECK(part.type != "port92");
}

TEST_CASE("properties that determine a device's state are compared, and others are not") {
    const auto parts = machine();
    using Properties = std::map<std::string, std::string>;
    CHECK(at(parts, "pcie.0/01.0/00.0").properties ==
          Properties{{"vectors", "4"}, {"disable-legacy", "on"}, {"mq", "off"}});
    CHECK(at(parts, "pcie.0/01.0").properties == Properties{{"chassis", "1"}});
}

TEST_CASE("equal machines have no difference, whatever their devices are called") {
    CHECK(difference(machine(), machine()).empty());
    CHECK(difference(machine(),
                     machine(replaced(std::string(kTree), "netdev = \"n\"", "netdev = \"other\"")))
              .empty());
    // The guest numbers the buses.
    CHECK(difference(machine(replaced(std::string(kTree), "busnr = 0", "busnr = 1")), machine())
              .empty());
}

TEST_CASE("a device that one side lacks is named, on either side") {
    auto without = machine();
    std::erase_if(without, [](const MachinePart& part) { return part.name == "net0"; });
    CHECK_THAT(difference(machine(), without),
               Contains("'net0' (virtio-net-pci at pcie.0/01.0/00.0) is at the sender and missing "
                        "here"));
    CHECK_THAT(difference(without, machine()),
               Contains("'net0' (virtio-net-pci at pcie.0/01.0/00.0) is here and missing at the "
                        "sender"));
    const auto no_hpet = machine(replaced(std::string(kTree), "dev: hpet", "dev: xpet"));
    CHECK_THAT(difference(machine(), no_hpet), Contains("a hpet at main-system-bus/hpet"));
}

TEST_CASE("a device at another address, of another type or with another property is named") {
    CHECK_THAT(
        difference(machine(), machine(replaced(std::string(kTree), "addr = 04.0", "addr = 05.0"))),
        Contains("virtio-scsi-pci at pcie.0/04.0 is at the sender and missing here") &&
            Contains("virtio-scsi-pci at pcie.0/05.0 is here and missing at the sender"));
    CHECK_THAT(difference(machine(),
                          machine(replaced(std::string(kTree), "dev: usb-tablet", "dev: usb-kbd"))),
               Contains("a usb-tablet at pcie.0/03.0/port 1 is at the sender, and a usb-kbd"));
    CHECK_THAT(
        difference(machine(), machine(replaced(std::string(kTree), "mq = false", "mq = true"))),
        Contains("'mq' of 'net0' (virtio-net-pci at pcie.0/01.0/00.0) is 'off' at the sender and "
                 "'on' here"));
}

TEST_CASE("another machine type is named, and not the board's devices that come with it") {
    auto other = machine("bus: main-system-bus\n  type System\n");
    other.front().type = "pc-i440fx-10.0";
    const std::string text = difference(machine(), other);
    CHECK_THAT(text, Contains("the machine type is 'pc-q35-10.0' at the sender and "
                              "'pc-i440fx-10.0' here"));
    CHECK(text.find("pcie.0") == text.npos);
}

TEST_CASE("devices are compared only if both sides list theirs") {
    auto unlisted = machine("");
    unlisted.front().properties.clear();
    std::erase_if(unlisted,
                  [](const MachinePart& part) { return part.place.find('/') != part.place.npos; });
    CHECK(difference(machine(), unlisted).empty());
    CHECK(difference(unlisted, machine()).empty());
}

TEST_CASE("the number, the topology and the model of the CPUs are compared") {
    const auto with = [](MachinePart cpus) { return machine(std::string(kTree), std::move(cpus)); };
    CHECK_THAT(difference(with(cpus_of(1, 2, 2)), with(cpus_of(2, 1, 2))),
               Contains("'topology' of the CPUs is 'socket=1,core=2,thread=1' at the sender and "
                        "'socket=2,core=1,thread=1' here"));
    CHECK_THAT(difference(with(cpus_of(1, 4, 2)), with(cpus_of(1, 4, 3))),
               Contains("'present CPUs' of the CPUs is '0-1' at the sender and '0-2' here"));
    MachinePart max = cpus_of(1, 2, 2);
    max.type = "max-x86_64-cpu";
    CHECK_THAT(difference(with(cpus_of(1, 2, 2)), with(max)),
               Contains("the CPU model is 'qemu64-x86_64-cpu' at the sender and 'max-x86_64-cpu'"));
}

TEST_CASE("the destination's CPUs may have more features, but not fewer") {
    const auto with = [](std::uint64_t bits) {
        MachinePart cpus = cpus_of(1, 2, 2);
        add_cpu_features(
            as_qemu_answers(Json::array(
                {{{"cpuid-register", "ECX"}, {"cpuid-input-eax", 1}, {"features", bits}}})),
            cpus);
        return machine(std::string(kTree), std::move(cpus));
    };
    CHECK(difference(with(0x3), with(0x7)).empty());
    CHECK(difference(with(0), with(0x7)).empty());
    CHECK_THAT(difference(with(0x7), with(0x5)),
               Contains("the CPUs lack features here that they have at the sender (CPUID 0x1 ECX "
                        "bits 0x2)"));
    CHECK_THAT(difference(with(0x7), with(0)), Contains("CPUID 0x1 ECX bits 0x7"));
}

TEST_CASE("the page size of a RAM block is compared by name") {
    const auto with = [](std::string size) {
        auto parts = machine();
        parts.push_back({.place = "RAM block 'pc.ram'",
                         .type = {},
                         .name = {},
                         .properties = {{"page size", std::move(size)}}});
        return parts;
    };
    CHECK_THAT(difference(with("4096"), with("2097152")),
               Contains("'page size' of RAM block 'pc.ram' is '4096' at the sender and '2097152'"));
    // A QEMU that is moved by files does not describe its blocks.
    CHECK(difference(with("4096"), machine()).empty());
}

TEST_CASE("many differences are counted, and the first ones named") {
    std::vector<MachinePart> sender = machine();
    for (int i = 0; i < 40; ++i) {
        sender.push_back({.place = fmt::format("pcie.0/10.{}", i), .type = "e1000", .name = {}});
    }
    CHECK_THAT(difference(sender, machine()), Contains("; and 34 more"));
}

TEST_CASE("a change of the machine during a migration is named") {
    must(check_same_machine(machine(), machine()));
    auto more = machine();
    more.push_back({.place = "pcie.0/05.0", .type = "e1000", .name = "net1"});
    const Status changed = check_same_machine(machine(), more);
    REQUIRE_FALSE(changed);
    CHECK_THAT(changed.error().message(),
               Contains("'net1' (e1000 at pcie.0/05.0) is now and missing when the migration "
                        "began"));
}

TEST_CASE("a difference of the machines is left to QEMU where that is asked for") {
    auto other = machine();
    other.push_back({.place = "pcie.0/05.0", .type = "e1000", .name = "net1"});
    CHECK_THAT(message_of(compare_machines(machine(), other, "QEMU (pid 7)")),
               Contains("machine-differences=warn in the receiver's --sink"));
    CHECK_THAT(message_of(check_same_machine(machine(), other)),
               Contains("machine-differences=warn in --source"));
    for (const auto differences : {MachineDifferences::kWarn, MachineDifferences::kIgnore}) {
        CHECK(compare_machines(machine(), other, "QEMU (pid 7)", differences));
        CHECK(check_same_machine(machine(), other, differences));
    }
}

TEST_CASE("a machine that exceeds an offer's limits loses properties first, then everything") {
    std::vector<MachinePart> large;
    for (int i = 0; i < 300; ++i) {
        MachinePart part{
            .place = fmt::format("pcie.0/{}", i), .type = "virtio-net-pci", .name = {}};
        for (int j = 0; j < 40; ++j) part.properties[fmt::format("property-{}", j)] = "off";
        large.push_back(std::move(part));
    }
    const auto limited = within_limits(large);
    REQUIRE(limited.size() == large.size());
    CHECK(limited.front() == large.front());
    CHECK(limited.back().properties.empty());
    large.resize(kMaxMachineParts + 1);
    CHECK(within_limits(large).empty());
}

TEST_CASE("text that is no list of devices, or a part of one, is read as far as it goes") {
    for (std::size_t size = 0; size < kTree.size(); size += 7) {
        CHECK(parse_device_tree(kTree.substr(0, size)).size() <= 12);
    }
    CHECK(parse_device_tree("unknown command: 'info qtree'\r\n").empty());
    std::string deep;
    for (std::size_t i = 0; i < 2000; ++i) {
        deep += fmt::format("{:{}}{}\n", "", 2 * i, i % 2 == 0 ? "bus: b" : "dev: d, id \"\"");
    }
    CHECK(parse_device_tree(deep).size() < 64);
}

}  // namespace
}  // namespace migrate::guest
