// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "catch.hpp"
#include "e2e/events_file.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

constexpr std::uint64_t kTransferSeed = 20260101;

// A run's options as indices into these.
constexpr std::array kFactors{4U, 3U, 3U, 3U, 3U, 2U};
using Choice = std::array<unsigned, kFactors.size()>;
constexpr std::array<const char*, 4> kChannelCounts{"1", "2", "8", "64"};
constexpr std::array<const char*, 3> kModes{"none", "legacy", "multifd"};
constexpr std::array<const char*, 3> kCompressions{"none", "lz4", "zstd"};
constexpr std::array<const char*, 3> kRatios{"0", "50", "100"};
constexpr std::array<const char*, 3> kPacketSizes{"4096", "524288", "4M"};
constexpr std::array<const char*, 2> kSkips{"on", "off"};

std::vector<std::string> options_of(const Choice& choice) {
    return {
        "--multifd-channels",          kChannelCounts.at(choice[0]), "--zero-page-detection",
        kModes.at(choice[1]),          "--multifd-compression",      kCompressions.at(choice[2]),
        "--multifd-normal-page-ratio", kRatios.at(choice[3]),        "--multifd-packet-size",
        kPacketSizes.at(choice[4]),    "--skip-unpopulated",         kSkips.at(choice[5])};
}

std::string text_of(const Choice& choice) {
    std::string text;
    for (const std::string& word : options_of(choice)) text += word + ' ';
    return text;
}

std::vector<Choice> all_choices() {
    std::vector<Choice> all{Choice{}};
    for (std::size_t factor = 0; factor < kFactors.size(); ++factor) {
        std::vector<Choice> wider;
        for (const Choice& choice : all) {
            for (unsigned value = 0; value < kFactors[factor]; ++value) {
                wider.push_back(choice);
                wider.back()[factor] = value;
            }
        }
        all = std::move(wider);
    }
    return all;
}

using Pair = std::array<std::size_t, 4>;  // factor, value, factor, value

std::set<Pair> pairs_of(const Choice& choice) {
    std::set<Pair> pairs;
    for (std::size_t a = 0; a < choice.size(); ++a) {
        for (std::size_t b = a + 1; b < choice.size(); ++b) {
            pairs.insert({a, choice[a], b, choice[b]});
        }
    }
    return pairs;
}

// Few choices in which any two values of different factors come together at least once: greedily
// the one that adds most.
std::vector<Choice> pairwise_choices() {
    const std::vector<Choice> all = all_choices();
    std::set<Pair> missing;
    for (const Choice& choice : all) missing.merge(pairs_of(choice));
    std::vector<Choice> chosen;
    while (!missing.empty()) {
        const auto gain = [&](const Choice& choice) {
            const std::set<Pair> pairs = pairs_of(choice);
            return std::count_if(pairs.begin(), pairs.end(),
                                 [&](const Pair& pair) { return missing.contains(pair); });
        };
        const Choice* best = &all.front();
        auto best_gain = gain(*best);
        for (const Choice& choice : all) {
            if (const auto candidate = gain(choice); candidate > best_gain) {
                best = &choice;
                best_gain = candidate;
            }
        }
        for (const Pair& pair : pairs_of(*best)) missing.erase(pair);
        chosen.push_back(*best);
    }
    return chosen;
}

TransferStats copy_file(const TemporaryFolder& folder, const std::string& image,
                        std::vector<std::string> options) {
    const std::string copy = folder / "copy.mem";
    std::filesystem::remove(copy);
    TransferStats stats = run_transfer(
        folder,
        {.source = "file:" + image, .sink = "file:" + copy, .send_options = std::move(options)});
    CHECK(same_content(image, copy));
    return stats;
}

void check_counts(const TransferStats& stats, const ImagePages& pages, const Choice& choice) {
    const std::string_view mode = kModes.at(choice[1]);
    const unsigned ratio = choice[3] * 50;
    const bool skips = choice[5] == 0;
    const std::uint64_t read = pages.total() - (skips ? pages.hole : 0);
    CHECK(stats.ram("total") == pages.total() * kPageSize);
    CHECK(stats.ram("unpopulated") == pages.total() - read);
    if (mode == "none" || ratio == 100) {
        CHECK(stats.ram("normal") == read);
        CHECK(stats.ram("duplicate") == 0);
    } else if (ratio == 0) {
        CHECK(stats.ram("normal") == pages.content);
        CHECK(stats.ram("duplicate") == read - pages.content);
    } else {
        CHECK(stats.ram("normal") * 100 >= ratio * read);
        CHECK(stats.ram("normal") >= pages.content);
        CHECK(stats.ram("duplicate") < read - pages.content);
    }
    if (kCompressions.at(choice[2]) == std::string_view("none")) {
        CHECK(stats.ram("payload-bytes") == stats.ram("normal") * kPageSize);
    }
}

// Copies the guest image under the choices with that remainder modulo three.
void copy_under_pairs(std::size_t third) {
    const TemporaryFolder folder(scratch_parent());
    const std::string& image = full_image();
    const std::vector<Choice> choices = pairwise_choices();
    CHECK(choices.size() <= 20);
    for (std::size_t i = third; i < choices.size(); i += 3) {
        INFO(image << ": " << text_of(choices[i]));
        copy_file(folder, image, options_of(choices[i]));
    }
}

// Copies a small image under every choice with that channel count and mode.
void copy_under_all(std::string_view channels, std::string_view mode) {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "small.mem";
    const ImagePages pages = make_image(image, 8, kTransferSeed);
    INFO("seed " << kTransferSeed);
    std::vector<Choice> choices = all_choices();
    // The variant that reads everything comes last: on tmpfs that fills the image's holes.
    std::stable_partition(choices.begin(), choices.end(),
                          [](const Choice& choice) { return choice[5] == 0; });
    // Under a sanitizer, where a process takes many times as long to start, every seventh: 7
    // divides no list's length, so every value still comes with every other.
    for (std::size_t i = 0; i < choices.size(); i += MIGRATE_MATRIX_STEP) {
        const Choice& choice = choices[i];
        if (channels != kChannelCounts.at(choice[0]) || mode != kModes.at(choice[1])) continue;
        INFO(text_of(choice));
        check_counts(copy_file(folder, image, options_of(choice)), pages, choice);
    }
}

}  // namespace

TEST_CASE("the guest image arrives under every pair of option values, a first third",
          "[transfer][part-1]") {
    copy_under_pairs(0);
}

TEST_CASE("the guest image arrives under every pair of option values, a second third",
          "[transfer][part-2]") {
    copy_under_pairs(1);
}

TEST_CASE("the guest image arrives under every pair of option values, the last third",
          "[transfer][part-3]") {
    copy_under_pairs(2);
}

TEST_CASE("a small image is counted exactly: 1 channel, zero page detection none",
          "[matrix][part-4]") {
    copy_under_all("1", "none");
}

TEST_CASE("a small image is counted exactly: 1 channel, zero page detection legacy",
          "[matrix][part-4]") {
    copy_under_all("1", "legacy");
}

TEST_CASE("a small image is counted exactly: 1 channel, zero page detection multifd",
          "[matrix][part-4]") {
    copy_under_all("1", "multifd");
}

TEST_CASE("a small image is counted exactly: 2 channels, zero page detection none",
          "[matrix][part-5]") {
    copy_under_all("2", "none");
}

TEST_CASE("a small image is counted exactly: 2 channels, zero page detection legacy",
          "[matrix][part-5]") {
    copy_under_all("2", "legacy");
}

TEST_CASE("a small image is counted exactly: 2 channels, zero page detection multifd",
          "[matrix][part-5]") {
    copy_under_all("2", "multifd");
}

TEST_CASE("a small image is counted exactly: 8 channels, zero page detection none",
          "[matrix][part-6]") {
    copy_under_all("8", "none");
}

TEST_CASE("a small image is counted exactly: 8 channels, zero page detection legacy",
          "[matrix][part-6]") {
    copy_under_all("8", "legacy");
}

TEST_CASE("a small image is counted exactly: 8 channels, zero page detection multifd",
          "[matrix][part-6]") {
    copy_under_all("8", "multifd");
}

TEST_CASE("a small image is counted exactly: 64 channels, zero page detection none",
          "[matrix][part-7]") {
    copy_under_all("64", "none");
}

TEST_CASE("a small image is counted exactly: 64 channels, zero page detection legacy",
          "[matrix][part-8]") {
    copy_under_all("64", "legacy");
}

TEST_CASE("a small image is counted exactly: 64 channels, zero page detection multifd",
          "[matrix][part-9]") {
    copy_under_all("64", "multifd");
}

TEST_CASE("every sink takes the image", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "small.mem";
    const ImagePages pages = make_image(image, 16, kTransferSeed + 1);
    const std::string sink = GENERATE(std::string("null:"), std::string("anon:"),
                                      std::string("memfd:"), std::string("file:"));
    const std::string compression =
        GENERATE(std::string("none"), std::string("lz4"), std::string("zstd"));
    INFO("seed " << kTransferSeed + 1 << ", sink " << sink << ", compression " << compression);
    std::vector<std::string> options{"--multifd-channels", "4", "--multifd-compression",
                                     compression};
    // If the sink keeps the pages, the digest replaces a comparison.
    if (sink != "null:") options.insert(options.end(), {"--verify", "digest"});
    const TransferStats stats =
        run_transfer(folder, {.source = image,
                              .sink = sink == "file:" ? sink + (folder / "out") : sink,
                              .send_options = options});
    CHECK(stats.ram("normal") == pages.content);
    CHECK(stats.ram("duplicate") == pages.zero);
    CHECK(stats.ram("unpopulated") == pages.hole);
    if (sink == "file:") CHECK(same_content(image, folder / "out"));
    if (sink != "null:") {
        REQUIRE(stats.sender.at("digests").size() == 1);
        CHECK(stats.sender.at("digests") == stats.receiver.at("digests"));
        CHECK(stats.sender.at("digests").at(0).get<std::string>().size() == 32);
    }
}

TEST_CASE("a synthetic guest arrives with the counts its fill implies", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    constexpr std::uint64_t kPages = 64 * kMiB / kPageSize;
    const std::string fill =
        GENERATE(std::string("untouched"), std::string("read"), std::string("zero"),
                 std::string("random"), std::string("mixed:50"));
    const std::string copy = folder / "copy.mem";
    const TransferStats stats =
        run_transfer(folder, {.source = "anon:64M,fill=" + fill,
                              .sink = "file:" + copy,
                              .send_options = {"--multifd-channels", "3", "--verify", "digest"}});
    INFO(fill << stats.sender.dump(1));
    const std::uint64_t normal = stats.ram("normal");
    if (fill == "untouched") {
        CHECK(stats.ram("unpopulated") == kPages);
    } else if (fill == "read") {
        // The kernel's zero page: read without content, however it is counted.
        CHECK(normal == 0);
    } else if (fill == "zero") {
        CHECK(stats.ram("duplicate") == kPages);
    } else if (fill == "random") {
        CHECK(normal == kPages);
    } else {
        CHECK(normal > kPages * 45 / 100);
        CHECK(normal < kPages * 55 / 100);
        CHECK(normal + stats.ram("duplicate") == kPages);
    }
    CHECK(std::filesystem::file_size(copy) == kPages * kPageSize);
}

TEST_CASE("an untouched guest of 100 GiB costs next to nothing on the wire", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string sink = GENERATE(std::string("null:"), std::string("anon:"));
    const TransferStats stats =
        run_transfer(folder, {.source = "anon:100G,fill=untouched", .sink = sink});
    CHECK(stats.ram("unpopulated") == 100 * kGiB / kPageSize);
    CHECK(stats.ram("transferred") < 20'000);
}

TEST_CASE("an image without a single populated page arrives", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "empty.mem";
    write_sparse_file(image, 1024, {});
    const TransferStats stats = copy_file(folder, image, {"--multifd-channels", "8"});
    CHECK(stats.ram("unpopulated") == 1024);
    CHECK(stats.ram("payload-bytes") == 0);
}

TEST_CASE("both sides use the socket buffer that the sender chose, and report it", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "guest.mem";
    write_sparse_file(image, 1024, {0, 5, 6, 7, 900});
    for (const std::string size : {"64K", "1M"}) {
        const TransferStats stats =
            copy_file(folder, image, {"--multifd-socket-buffer", size, "--multifd-channels", "3"});
        const std::uint64_t bytes = size == "64K" ? 64 * kKiB : kMiB;
        CHECK(stats.sender.at("settings").at("multifd-socket-buffer") == bytes);
        CHECK(stats.receiver.at("settings").at("multifd-socket-buffer") == bytes);
    }
    const TransferStats automatic = copy_file(folder, image, {"--multifd-channels", "3"});
    CHECK(automatic.receiver.at("settings").at("multifd-socket-buffer") == "auto");
}

TEST_CASE("an image of one page arrives over more channels than it has pages", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "page.mem";
    const std::string mode =
        GENERATE(std::string("none"), std::string("legacy"), std::string("multifd"));
    write_sparse_file(image, 1, {0});
    const TransferStats stats =
        copy_file(folder, image, {"--multifd-channels", "255", "--zero-page-detection", mode});
    CHECK(stats.ram("normal") == 1);
}

TEST_CASE("every zero kernel counts the same pages", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "small.mem";
    const ImagePages pages = make_image(image, 16, kTransferSeed + 2);
    INFO("seed " << kTransferSeed + 2);
    for (const std::string& kernel : {std::string("auto"), std::string("scalar")}) {
        INFO(kernel);
        const TransferStats stats =
            copy_file(folder, image, {"--zero-kernel", kernel, "--skip-unpopulated", "off"});
        CHECK(stats.ram("normal") == pages.content);
        CHECK(stats.ram("duplicate") == pages.zero + pages.hole);
    }
}

TEST_CASE("an older output file is replaced, and only at the end", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string copy = folder / "copy.mem";
    write_file(copy, "old");
    const EventsFile events;
    Receiver receiver({"--sink", "file:" + copy, "--events", events.path()});
    Process sender(send_arguments(receiver, "anon:4M,fill=random",
                                  {"--max-bandwidth", "4M", "--verify", "digest"}));
    REQUIRE(events.await("MIGRATION_PASS"));
    CHECK(read_file(copy) == "old");
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(std::filesystem::file_size(copy) == 4 * kMiB);
    CHECK(folder.names() == std::vector<std::string>{"copy.mem"});
}

TEST_CASE("an output file has no name before it is complete", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string copy = folder / "copy.mem";
    const EventsFile events;
    Receiver receiver({"--sink", "file:" + copy, "--events", events.path()});
    Process sender(send_arguments(receiver, "anon:4M,fill=random", {"--max-bandwidth", "4M"}));
    REQUIRE(events.await("MIGRATION_PASS"));
    CHECK(folder.names().empty());
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(folder.names() == std::vector<std::string>{"copy.mem"});
}

TEST_CASE("the port file names the port once it accepts connections", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const EventsFile events;
    Receiver receiver(
        {"--sink", "null:", "--port-file", folder / "port", "--events", events.path()});
    REQUIRE(events.await("setup"));
    CHECK(read_file(folder / "port") == std::to_string(receiver.port()) + "\n");
    Process sender(send_arguments(receiver, "anon:1M,fill=random"));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
}

TEST_CASE("events that cannot be written do not end the migration", "[transfer]") {
    const TemporaryMount tiny("tmpfs", "size=4096");
    if (!tiny) {
        WARN("a file system can be mounted by root only; nothing was tested");
        return;
    }
    const TemporaryFolder folder(scratch_parent());
    write_file(tiny.folder() / "fills", std::string(4096, 'x'));
    run_transfer(folder, {.source = "anon:1M,fill=random",
                          .send_options = {"--events", tiny.folder() / "sent"},
                          .recv_options = {"--events", tiny.folder() / "received"}});
}

}  // namespace migrate::e2e
