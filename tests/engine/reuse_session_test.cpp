// SPDX-License-Identifier: Apache-2.0
// Whole sessions in which the receiver has pages already: of an older image, or of this one.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "catch.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seed.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint64_t kPages = 3000;

struct Reports {
    Report sender;
    Report receiver;
};

Reports transfer(const std::string& source_uri, const RecvConfig& receiver_config,
                 SendConfig config = patient_sender()) {
    EventLog events;
    const auto source = must(memory::open_page_source(source_uri));
    const auto receiver = must(RecvSession::create(receiver_config, events));
    config.paths = path_to(receiver->port());
    const auto sender = must(SendSession::create(std::move(config), *source, events));
    Status received;
    std::jthread receiving([&] { received = receiver->run(); });
    must(sender->run());
    receiving.join();
    must(received);
    Reports reports{sender->report(), receiver->report()};
    CHECK(reports.sender.pages == reports.receiver.pages);
    CHECK(reports.sender.transferred == reports.receiver.transferred);
    CHECK(reports.sender.digests == reports.receiver.digests);
    CHECK(reports.sender.digests.size() == 1);
    CHECK(reports.sender.reuse.pages == reports.receiver.reuse.pages);
    CHECK(reports.sender.reuse.digests == reports.receiver.reuse.digests);
    CHECK(reports.sender.pages.total() + reports.sender.reuse.pages == kPages);
    return reports;
}

RecvConfig reusing(const std::string& sink, const std::string& file) {
    RecvConfig config = patient_receiver(sink);
    config.extras.reuse = file;
    return config;
}

std::string content_of(std::mt19937& random) {
    std::string page(kPageSize, '\0');
    for (std::size_t i = 0; i < kPageSize; i += sizeof(std::uint32_t)) {
        const auto word = static_cast<std::uint32_t>(random());
        std::memcpy(&page[i], &word, sizeof word);
    }
    return page;
}

// Writes groups of eight pages: six with content, a hole and a page of zeros.
void write_image(const std::string& path, std::mt19937& random) {
    std::ofstream file(path, std::ios::binary);
    for (std::uint64_t page = 0; page < kPages; ++page) {
        if (page % 8 == 7) {
            file << std::string(kPageSize, '\0');
        } else if (page % 8 == 6) {
            file.seekp(static_cast<std::streamoff>((page + 1) * kPageSize));
        } else {
            file << content_of(random);
        }
    }
    file.close();
    std::filesystem::resize_file(path, kPages * kPageSize);
}

// Changes so many of the pages that have content.
void change_pages(const std::string& path, std::uint64_t percent, std::mt19937& random) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (std::uint64_t page = 0; page < kPages; ++page) {
        if (page % 8 >= 6 || random() % 100 >= percent) continue;
        file.seekp(static_cast<std::streamoff>(page * kPageSize));
        file << content_of(random);
    }
}

TEST_CASE("pages of an older image are not sent, into every kind of memory") {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed());
    const std::string image = folder / "guest.mem";
    const std::string old = folder / "old.mem";
    write_image(image, random);
    const Reports first = transfer("file:" + image, patient_receiver("file:" + old));
    CHECK(first.sender.reuse.digests == 0);
    for (const std::string sink : {"anon:", "anon:huge=off", "memfd:", "memfd:huge=off", "file:"}) {
        INFO(sink);
        const Reports same = transfer(
            "file:" + image, reusing(sink == "file:" ? sink + (folder / "copy") : sink, old));
        CHECK(same.sender.pages.normal == 0);
        CHECK(same.sender.reuse.pages == first.sender.pages.normal);
        CHECK(same.sender.transferred * 100 < first.sender.transferred);
        CHECK(same.sender.transferred > same.sender.reuse.bytes);
    }
    CHECK((read_file(folder / "copy") == read_file(image)));
    CHECK((read_file(old) == read_file(image)));
}

TEST_CASE(
    "after a third of the pages has changed, the second trip takes at most 0.4 of the first") {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed());
    const std::string image = folder / "guest.mem";
    const std::string old = folder / "old.mem";
    write_image(image, random);
    const Reports first = transfer("file:" + image, patient_receiver("file:" + old));
    change_pages(image, 33, random);
    // The file that the sink replaces.
    const Reports second = transfer("file:" + image, reusing("file:" + old, old));
    const double ratio = static_cast<double>(second.sender.transferred) /
                         static_cast<double>(first.sender.transferred);
    CAPTURE(ratio);
    CHECK(ratio <= 0.4);
    CHECK(second.sender.reuse.pages > 0);
    CHECK((read_file(old) == read_file(image)));
}

TEST_CASE("a forged, damaged or foreign file to reuse changes nothing but the bytes saved") {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed());
    const std::string image = folder / "guest.mem";
    const std::string file = folder / "reuse";
    write_image(image, random);
    const std::string right = read_file(image);
    for (int turn = 0; turn < 8; ++turn) {
        INFO("turn " << turn);
        std::string forged = right;
        for (std::uint64_t page = 0; page < kPages; ++page) {
            // One bit of most pages.
            if (random() % 10 == 0) continue;
            char& byte = forged[page * kPageSize + random() % kPageSize];
            byte = static_cast<char>(byte ^ 1 << random() % 8);
        }
        if (turn == 1) forged.resize(100 * kPageSize + 5);
        if (turn == 2) forged.clear();
        if (turn == 3) forged.append(forged);
        if (turn == 4) forged.insert(0, "x");
        write_file(file, forged);
        RecvConfig config = reusing("anon:", file);
        config.placement = turn % 2 == 0 ? Placement::kAuto : Placement::kInPlace;
        const Reports reports = transfer("file:" + image, config);
        CHECK(reports.sender.pages.normal > kPages / 2);
        if (turn == 0) CHECK(reports.sender.reuse.pages > 0);
    }
}

TEST_CASE("page-digests=off and a file that has nothing cost no questions, or find no page") {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed());
    const std::string image = folder / "guest.mem";
    write_image(image, random);
    SendConfig silent = patient_sender();
    set_negotiated(silent.negotiated, "page-digests", "off");
    CHECK(transfer("file:" + image, reusing("anon:", image), silent).sender.reuse.digests == 0);
    write_file(folder / "empty", "");
    const Reports empty = transfer("file:" + image, reusing("anon:", folder / "empty"));
    CHECK(empty.sender.reuse.digests > 0);
    CHECK(empty.sender.reuse.pages == 0);
}

TEST_CASE("every way to find zeros and every compression goes with pages that are reused") {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed());
    const std::string image = folder / "guest.mem";
    write_image(image, random);
    std::filesystem::copy_file(image, folder / "old");
    change_pages(image, 20, random);
    for (const auto detection :
         {ZeroPageDetection::kNone, ZeroPageDetection::kLegacy, ZeroPageDetection::kMultifd}) {
        for (const char* compression : {"none", "lz4"}) {
            SendConfig config = patient_sender();
            config.detection = detection;
            config.skip_unpopulated = detection != ZeroPageDetection::kNone;
            set_negotiated(config.negotiated, "multifd-compression", compression);
            set_negotiated(config.negotiated, "multifd-channels", "3");
            const Reports reports =
                transfer("file:" + image, reusing("anon:", folder / "old"), config);
            CHECK(reports.sender.reuse.pages > kPages / 2);
        }
    }
}

TEST_CASE("the report names the pages that were reused") {
    const TemporaryFolder folder;
    std::mt19937 random(test_seed());
    const std::string image = folder / "guest.mem";
    write_image(image, random);
    const Reports reports = transfer("file:" + image, reusing("anon:", image));
    for (const Report* report : {&reports.sender, &reports.receiver}) {
        const auto json = nlohmann::json::parse(to_json(*report));
        CHECK(json.at("ram").at("reused") == report->reuse.pages);
        CHECK(json.at("reuse").at("digests") == report->reuse.digests);
        CHECK_THAT(to_text(*report), Catch::Contains("reused: "));
    }
}

TEST_CASE("a receiver does not start with a file to reuse that it cannot use") {
    const TemporaryFolder folder;
    EventLog events;
    CHECK_THAT(message_of(RecvSession::create(reusing("anon:", folder / "none"), events)),
               Catch::Contains("option reuse"));
    CHECK_THAT(message_of(RecvSession::create(reusing("anon:", folder.path()), events)),
               Catch::Contains("no complete bundle"));
    write_file(folder / "old", "x");
    CHECK_THAT(message_of(RecvSession::create(reusing("null:", folder / "old"), events)),
               Catch::Contains("keeps nothing"));
}

// A transfer that is cancelled when that many pages have arrived.
void break_off(const std::string& image, const RecvConfig& receiver_config, std::uint64_t pages) {
    EventLog events;
    const auto source = must(memory::open_page_source("file:" + image));
    const auto receiver = must(RecvSession::create(receiver_config, events));
    SendConfig config = patient_sender();
    config.paths = path_to(receiver->port());
    config.tunables.max_bandwidth = 20 * kMiB;
    const auto sender = must(SendSession::create(std::move(config), *source, events));
    std::jthread receiving([&] { CHECK_FALSE(receiver->run()); });
    const std::jthread canceller([&](const std::stop_token& stop) {
        while (!stop.stop_requested() && receiver->report().pages.normal < pages) {
            std::this_thread::yield();
        }
        receiver->cancel("the test's user");
    });
    CHECK_FALSE(sender->run());
}

// An image, and a receiver of it that can go on with a transfer.
struct Resuming {
    Resuming() {
        write_image(image, random);
        config.extras.resume = memory::Resume::kYes;
    }

    const TemporaryFolder folder;
    std::mt19937 random{test_seed()};
    const std::string image = folder / "guest.mem";
    RecvConfig config = patient_receiver("file:" + folder / "copy");
};

TEST_CASE("a transfer that broke off goes on, and an image that changed meanwhile is right") {
    Resuming r;
    auto& [folder, random, image, config] = r;
    break_off(image, config, kPages / 2);
    CHECK(std::filesystem::exists(folder / "copy.partial"));
    const bool changes = GENERATE(false, true);
    if (changes) change_pages(image, 10, random);
    const Reports reports = transfer("file:" + image, config);
    CHECK(reports.sender.reuse.pages > (changes ? kPages / 4 : kPages / 3));
    CHECK((read_file(folder / "copy") == read_file(image)));
    CHECK_FALSE(std::filesystem::exists(folder / "copy.partial"));
    CHECK_FALSE(std::filesystem::exists(folder / "copy.partial.journal"));
}

TEST_CASE("what a transfer left and an older image are reused together") {
    Resuming r;
    auto& [folder, random, image, config] = r;
    std::filesystem::copy_file(image, folder / "old");
    change_pages(folder / "old", 50, random);
    break_off(image, config, kPages / 3);
    config.extras.reuse = folder / "old";
    const Reports reports = transfer("file:" + image, config);
    CHECK(reports.sender.reuse.pages > kPages / 2);
    CHECK((read_file(folder / "copy") == read_file(image)));
}

TEST_CASE("a sender that asks for nothing gets over what a transfer left") {
    Resuming r;
    auto& [folder, random, image, config] = r;
    break_off(image, config, kPages / 2);
    write_image(image, random);
    SendConfig silent = patient_sender();
    set_negotiated(silent.negotiated, "page-digests", "off");
    CHECK(transfer("file:" + image, config, silent).sender.reuse.pages == 0);
    CHECK((read_file(folder / "copy") == read_file(image)));
}

}  // namespace
}  // namespace migrate::engine
