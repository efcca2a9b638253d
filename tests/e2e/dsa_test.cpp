// SPDX-License-Identifier: Apache-2.0
// Zero pages found by DSA devices: the software device in the sender's process, and, by the very
// instructions that hardware takes, the one of scripts/with-softdsa.
#include <filesystem>

#include "catch.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

constexpr std::uint64_t kDsaSeed = 4711;

using Options = std::vector<std::string>;

// All pages go to the device, however slow it is, unless `share` says otherwise.
Options accel_options(const std::string& path, Options more = {}, const char* share = "all") {
    Options options{"--zero-page-detection", "dsa-accel", "--accel-path", path,
                    "--accel-share",         share};
    options.insert(options.end(), more.begin(), more.end());
    return options;
}

// Copies the image with its zero pages found by the CPU, and then by the device: the same content
// and the same counts. The second transfer's statistics.
struct Comparison {
    explicit Comparison(std::string source) : image(std::move(source)) {
        by_cpu = copy({.source = "file:" + image});
    }

    TransferStats copy(Transfer transfer) const {
        const std::string to = folder / "copy.mem";
        std::filesystem::remove(to);
        transfer.sink = "file:" + to;
        TransferStats stats = run_transfer(folder, transfer);
        CHECK(same_content(image, to));
        return stats;
    }

    nlohmann::json check(const Options& options, const Options& under = {}) const {
        const TransferStats stats =
            copy({.source = "file:" + image, .send_options = options, .send_under = under});
        for (const char* key : {"normal", "duplicate", "unpopulated"})
            CHECK(stats.ram(key) == by_cpu.ram(key));
        INFO(stats.sender.dump(1));
        nlohmann::json accel = stats.sender.at("accel");
        CHECK(accel.at("device") == device);
        // Every page was asked of a device or finished by the CPU, some of them both.
        const auto figure = [&](const char* key) { return accel.at(key).get<std::uint64_t>(); };
        CHECK(figure("descriptors") + figure("cpu-pages") >=
              stats.ram("normal") + stats.ram("duplicate"));
        return accel;
    }

    TemporaryFolder folder{scratch_parent()};
    std::string image;
    std::string device = "software DSA";
    TransferStats by_cpu;
};

// A small image, made in a folder that lives as long as the program.
const std::string& small_image() {
    static const TemporaryFolder folder(scratch_parent());
    static const std::string path = [] {
        std::string name = folder / "small.mem";
        make_image(name, 16, kDsaSeed);
        return name;
    }();
    return path;
}

}  // namespace

TEST_CASE("a device in the process finds the CPU's zero pages, in every arrangement",
          "[dsa][part-1]") {
    const Comparison comparison(small_image());
    INFO("seed " << kDsaSeed);
    for (const char* mode : {"shared", "dedicated"}) {
        for (const char* completion : {"inline", "thread"}) {
            for (const char* channels : {"1", "3", "16"}) {
                for (const char* queues : {"1", "8"}) {
                    CAPTURE(mode, completion, channels, queues);
                    const auto accel = comparison.check(
                        accel_options(std::string("softdsa:") + queues + ",mode=" + mode,
                                      {"--accel-completion", completion, "--multifd-channels",
                                       channels, "--accel-timeout", "60s"}));
                    CHECK(accel.at("completion") == completion);
                    CHECK(accel.at("queues").size() == std::stoul(queues));
                    CHECK(accel.at("timeouts") == 0);
                }
            }
        }
    }
}

TEST_CASE("the whole image goes through a device, whatever packets and queues hold", "[dsa]") {
    const Comparison comparison(full_image());
    comparison.check(accel_options("softdsa:2", {"--multifd-channels", "8"}));
    comparison.check(accel_options("softdsa:2,batch=1,size=16",
                                   {"--multifd-packet-size", "4K", "--multifd-channels", "2"}));
    comparison.check(accel_options("softdsa:1,devices=2,batch=1024",
                                   {"--multifd-packet-size", "4M", "--accel-verify", "10"}));
}

TEST_CASE("a device that fails in mid-migration loses nothing, and the figures say how", "[dsa]") {
    const Comparison comparison(small_image());
    const auto halted = comparison.check(
        accel_options("softdsa:2,faults=halt-after=300", {"--accel-timeout", "50ms"}));
    CHECK(halted.at("timeouts") > 0);
    CHECK(halted.at("cpu-pages") > 0);
    const auto faulty = comparison.check(
        accel_options("softdsa:2,faults=fault-byte=any@/20:status=0x20@/300:full=5@/9:reorder",
                      {"--accel-timeout", "60s"}));
    CHECK(faulty.at("page-faults") > 0);
    CHECK(faulty.at("bad-statuses") > 0);
    CHECK(faulty.at("retries") > 0);
}

TEST_CASE("by default device and CPU share the pages, and the report says how and why", "[dsa]") {
    const Comparison comparison(full_image());
    for (const char* path : {"softdsa:2", "softdsa:1,mode=dedicated,size=4", "softdsa:1,batch=1",
                             "softdsa:1,latency=10000000"}) {
        for (const char* completion : {"inline", "thread"}) {
            CAPTURE(path, completion);
            const auto accel = comparison.check(
                accel_options(path,
                              {"--accel-completion", completion, "--multifd-channels", "4",
                               "--accel-timeout", "60s"},
                              "auto"));
            const auto& share = accel.at("share");
            CHECK(share.at("cpu-ns-per-page") > 0);
            CHECK_FALSE(share.at("reason").get<std::string>().empty());
            CHECK(share.at("device-percent") < 100);
            CHECK(accel.at("prefiltered") > 0);
            CHECK(accel.at("prefiltered") <= accel.at("cpu-pages"));
            CHECK(accel.at("timeouts") == 0);
        }
    }
    // The device halts within its first batch: how much it is given after that depends on its
    // speed.
    const auto halted = comparison.check(
        accel_options("softdsa:2,faults=halt-after=1", {"--accel-timeout", "50ms"}, "auto"));
    CHECK(halted.at("late-pages") > 0);
    const auto unfiltered =
        comparison.check(accel_options("softdsa:2", {"--accel-prefilter", "off"}, "auto"));
    CHECK(unfiltered.at("looked-at") == 0);
}

TEST_CASE("a queue that refuses its work is left for another, and log and report say so", "[dsa]") {
    const Comparison comparison(small_image());
    for (const char* faults : {"wq0.status=0x10", "wq0.full=ever"}) {
        CAPTURE(faults);
        const auto accel =
            comparison.check(accel_options(std::string("softdsa:2,faults=") + faults));
        const auto& left = accel.at("queues").at(0);
        CHECK(left.at("times-left") == 1);
        CHECK_FALSE(left.at("trouble").get<std::string>().empty());
        CHECK(accel.at("queues").at(1).at("descriptors") > 0);
        CHECK_FALSE(accel.at("queues").at(1).contains("trouble"));
    }
    Receiver receiver({"--sink", "null:"});
    Process sender(send_arguments(
        receiver, "file:" + small_image(),
        accel_options("softdsa:2,faults=wq0.status=0x10", {"--multifd-channels", "4"})));
    CHECK(sender.wait() == 0);
    const std::string log = sender.err();
    const std::string line = "softdsa:0.0 refuses its work with status 0x10";
    CHECK_THAT(log, Catch::Contains(line));
    CHECK(log.find(line) == log.rfind(line));
}

TEST_CASE("a device that lies ends the migration where answers are verified", "[dsa]") {
    const TemporaryFolder folder(scratch_parent());
    Receiver receiver({"--sink", "null:"});
    Process sender(
        send_arguments(receiver, "file:" + small_image(),
                       accel_options("softdsa:1,faults=wrong@/5", {"--accel-verify", "3"})));
    CHECK(sender.wait() == 1);
    CHECK_THAT(sender.err(), Catch::Contains("do not use this device"));
    CHECK(receiver->wait() == 1);
}

TEST_CASE("a live guest's zero pages are found by a device", "[dsa]") {
    const TemporaryFolder folder(scratch_parent());
    const TransferStats stats =
        run_transfer(folder, {.source = "workload:32M,rate=50,working-set=8M,warm-up=0",
                              .sink = "anon:",
                              .send_options = accel_options(
                                  "softdsa:2", {"--accel-verify", "7", "--accel-prefilter", "off"}),
                              .recv_options = {"--run-for", "100ms"}});
    CHECK(stats.receiver.at("guest").at("check") == "passed");
    CHECK(stats.sender.at("accel").at("verified") > 0);
}

TEST_CASE("devices that cannot be had are refused at the start, with the way out", "[dsa]") {
    const auto refusal = [](const Options& options, int exit_code) {
        Process sender(send_arguments("127.0.0.1:1", "anon:1M", options));
        CHECK(sender.wait() == exit_code);
        return sender.err();
    };
    using Catch::Matchers::Contains;
    CHECK_THAT(refusal(accel_options("/dev/dsa/wq0.0"), 2),
               Contains("write dsa:PATH or softdsa:N"));
    CHECK_THAT(refusal(accel_options("softdsa:99"), 2), Contains("99"));
    CHECK_THAT(refusal({"--accel-path", "softdsa:1"}, 2),
               Contains("zero-page-detection=dsa-accel"));
    if (!std::filesystem::exists("/sys/bus/dsa")) {
        CHECK_THAT(refusal(accel_options("dsa:/dev/dsa/wq0.0"), 3), Contains("modprobe idxd"));
        CHECK_THAT(refusal({"--zero-page-detection", "dsa-accel"}, 3),
                   Contains("modprobe idxd") && Contains("softdsa:1"));
    }
}

TEST_CASE("hardware finds the CPU's zero pages", "[dsa-hw]") {
    Process probe({"probe", "--json"});
    REQUIRE(probe.wait() == 0);
    std::string path;
    std::string reasons;
    for (const auto& queue : nlohmann::json::parse(probe.out()).at("dsa")) {
        const auto name = queue.at("name").get<std::string>();
        if (name.starts_with("softdsa")) continue;
        if (queue.at("usable").get<bool>()) path += (path.empty() ? "" : " ") + name;
        reasons += "\n  " + name + ": " + queue.at("detail").get<std::string>();
    }
    if (path.empty()) {
        // CTest looks for this.
        WARN("skipped, no DSA work queue can be used:" << reasons);
        return;
    }
    Comparison comparison(full_image());
    comparison.device = "DSA";
    for (const char* completion : {"inline", "thread"}) {
        for (const char* channels : {"1", "8", "16"}) {
            const auto accel = comparison.check(
                accel_options(path, {"--accel-completion", completion, "--multifd-channels",
                                     channels, "--accel-verify", "100"}));
            CHECK(accel.at("timeouts") == 0);
            CHECK(accel.at("verified") > 0);
        }
    }
}

#ifdef MIGRATE_WITH_SOFTDSA

namespace {

Options with_softdsa(const Options& options) {
    Options command{std::string(MIGRATE_SOURCE_DIR) + "/scripts/with-softdsa", "--library",
                    MIGRATE_SOFTDSA_LIBRARY};
    command.insert(command.end(), options.begin(), options.end());
    command.emplace_back("--");
    return command;
}

bool has_namespaces() {
    const Options command = with_softdsa({});
    Options arguments(command.begin() + 1, command.end());
    arguments.emplace_back("true");
    Process process(command.front(), arguments);
    const bool works = process.wait() == 0;
    if (!works) WARN("not run: " << process.err());
    return works;
}

}  // namespace

TEST_CASE("ENQCMD, MOVDIR64B and write() find the same pages", "[dsa][part-2]") {
    if (!has_namespaces()) return;
    const Comparison comparison(full_image());
    const std::string both = "dsa:/dev/dsa/wq0.0 dsa:/dev/dsa/wq0.1";
    for (const char* completion : {"inline", "thread"}) {
        CAPTURE(completion);
        const Options more{"--multifd-channels", "8",  "--accel-completion", completion,
                           "--accel-timeout",    "60s"};
        const Options under = with_softdsa({"--max-batch", "32", "--size", "128"});
        const auto shared = comparison.check(accel_options("dsa:/dev/dsa/wq0.0", more), under);
        CHECK(shared.at("queues").at(0).at("mode") == "shared");
        const auto dedicated = comparison.check(accel_options("dsa:/dev/dsa/wq0.1", more), under);
        CHECK(dedicated.at("queues").at(0).at("mode") == "dedicated");
        // For a process that may not map a portal: page after page on this version, batches on
        // later ones.
        comparison.check(accel_options(both, more), with_softdsa({"--no-mmap"}));
        comparison.check(accel_options(both, more),
                         with_softdsa({"--no-mmap", "--version", "0x200"}));
    }
}

TEST_CASE("one to sixteen channels share one to eight queues of several devices", "[dsa][part-2]") {
    if (!has_namespaces()) return;
    const Comparison comparison(small_image());
    for (const char* channels : {"1", "16"}) {
        for (const unsigned queues : {1U, 3U, 8U}) {
            CAPTURE(channels, queues);
            const Options under = with_softdsa(
                {"--devices", queues > 1 ? "2" : "1", "--queues", std::to_string(queues), "--mode",
                 queues == 3 ? "dedicated" : "shared", "--size", "16"});
            // No path: all that there are.
            Options options{"--zero-page-detection", "dsa-accel", "--multifd-channels", channels,
                            "--accel-timeout",       "60s"};
            const auto accel = comparison.check(options, under);
            CHECK(accel.at("queues").size() == std::size_t{queues} * (queues > 1 ? 2 : 1));
        }
    }
}

TEST_CASE("a device that is trapped and fails loses nothing either", "[dsa]") {
    if (!has_namespaces()) return;
    const Comparison comparison(small_image());
    const Options options = accel_options("dsa:/dev/dsa/wq0.0 dsa:/dev/dsa/wq0.1",
                                          {"--accel-timeout", "50ms", "--multifd-channels", "4"});
    for (const char* faults : {"full=ever@200", "halt-after=300", "fault-byte=any@/7:reorder",
                               "drop@/100", "late=1ms"}) {
        CAPTURE(faults);
        comparison.check(options, with_softdsa({"--faults", faults}));
    }
    const auto refusal = [&](const char* faults) {
        Receiver receiver({"--sink", "null:"});
        Options refused = with_softdsa({"--faults", faults});
        const Options send = send_arguments(receiver, "anon:1M", options);
        refused.emplace_back(MIGRATE_BINARY);
        refused.insert(refused.end(), send.begin(), send.end());
        Process sender(refused.front(), {refused.begin() + 1, refused.end()});
        CHECK(sender.wait() == 3);
        return sender.err();
    };
    CHECK_THAT(refusal("open=EBUSY"), Catch::Contains("dedicated queue"));
    // The first descriptor is the NOOP.
    CHECK_THAT(refusal("status=0x10@1+"),
               Catch::Contains("wq0.0: it answers COMPVAL with status 0x10"));
    CHECK_THAT(refusal("wrong@1+"), Catch::Contains("which is wrong: do not use it"));
}

TEST_CASE("a queue that refuses batches gets each page alone", "[dsa]") {
    if (!has_namespaces()) return;
    const Comparison comparison(small_image());
    const auto accel = comparison.check(accel_options("dsa:/dev/dsa/wq0.0"),
                                        with_softdsa({"--faults", "batch-status=0x14"}));
    CHECK(accel.at("batches") == 0);
    CHECK(accel.at("descriptors") > 0);
    CHECK(accel.at("bad-statuses") == 0);
}

#endif

}  // namespace migrate::e2e
