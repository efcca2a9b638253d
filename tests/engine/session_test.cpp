// SPDX-License-Identifier: Apache-2.0
// A sender and a receiver in one process, over loopback.
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "catch.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"
#include "transport/connector.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using transport::Compression;

struct Outcome {
    Status sent;
    Status received;
    Report sender;
    Report receiver;
};

// Both sessions, ready to run.
struct Sessions {
    Sessions(const std::string& source_uri, SendConfig config, RecvConfig receiver_config)
        : source(must(memory::open_page_source(source_uri))),
          receiver(must(RecvSession::create(std::move(receiver_config), events))) {
        config.paths = path_to(receiver->port());
        sender = must(SendSession::create(std::move(config), *source, events));
    }
    Outcome run() {
        Outcome outcome;
        std::jthread receiving([&] { outcome.received = receiver->run(); });
        outcome.sent = sender->run();
        receiving.join();
        outcome.sender = sender->report();
        outcome.receiver = receiver->report();
        return outcome;
    }

    EventLog events;
    std::unique_ptr<memory::PageSource> source;
    std::unique_ptr<RecvSession> receiver;
    std::unique_ptr<SendSession> sender;
};

void check_identities(const Report& report, std::uint64_t total_bytes) {
    CHECK(report.status == MigrationStatus::kCompleted);
    CHECK(report.total_bytes == total_bytes);
    CHECK(report.pages.total() * kPageSize == total_bytes);
    std::uint64_t bytes = 0;
    std::uint64_t payload = 0;
    transport::PageCounts pages;
    for (const ChannelReport& channel : report.channels) {
        bytes += channel.bytes;
        payload += channel.payload_bytes;
        pages += channel.pages;
    }
    CHECK(bytes == report.transferred);
    CHECK(payload == report.payload_bytes);
    CHECK(pages == report.pages);
    CHECK(nlohmann::json::parse(to_json(report)).at("status") == "completed");
}

void check_success(const Outcome& outcome, std::uint64_t total_bytes) {
    must(outcome.sent);
    must(outcome.received);
    check_identities(outcome.sender, total_bytes);
    check_identities(outcome.receiver, total_bytes);
    CHECK(outcome.sender.pages == outcome.receiver.pages);
    CHECK(outcome.sender.transferred == outcome.receiver.transferred);
    CHECK(outcome.sender.payload_bytes == outcome.receiver.payload_bytes);
    CHECK(outcome.sender.digests == outcome.receiver.digests);
}

TEST_CASE("a file is not received into itself, by whatever path, and stays as it is") {
    const TemporaryFolder folder;
    const TemporaryFolder other;
    const std::string image = folder / "guest.mem";
    write_file(image, std::string(4 * kPageSize, 'g'));
    std::filesystem::create_directory_symlink(folder.path(), other / "link");
    for (const std::string& sink :
         {image, other / "link/guest.mem",
          folder.path() + "/../" + std::filesystem::path(folder.path()).filename().string() +
              "/guest.mem"}) {
        Sessions sessions("file:" + image, patient_sender(), patient_receiver("file:" + sink));
        Outcome outcome;
        std::jthread receiving([&] { outcome.received = sessions.receiver->run(); });
        outcome.sent = sessions.sender->run();
        sessions.receiver->cancel("the test is over");
        receiving.join();
        INFO(sink);
        CHECK_THAT(message_of(outcome.sent),
                   Catch::Contains("source and sink are the same file: the sender's region 'ram' "
                                   "lies in " +
                                   sink));
        CHECK((read_file(image) == std::string(4 * kPageSize, 'g')));
        CHECK(folder.names() == std::vector<std::string>{"guest.mem"});
    }
}

TEST_CASE("a file is received over another, over its copy, and into the folder that it lies in") {
    const TemporaryFolder folder;
    const std::string image = folder / "guest.mem";
    write_file(image, std::string(4 * kPageSize, 'g'));
    for (const std::string name : {"new", "copy"}) {
        if (name == "copy") std::filesystem::copy_file(image, folder / "copy");
        Sessions sessions("file:" + image, patient_sender(),
                          patient_receiver("file:" + folder / name));
        check_success(sessions.run(), 4 * kPageSize);
        CHECK((read_file(folder / name) == read_file(image)));
    }
}

TEST_CASE("an image that is written to while it is sent fails the migration") {
    const TemporaryFolder folder;
    const std::string image = folder / "guest.mem";
    const bool shrinks = GENERATE(true, false);
    write_file(image, std::string(64 * kPageSize, 'g'));
    const std::array<timespec, 2> before{timespec{1, 0}, timespec{1, 0}};
    REQUIRE(::utimensat(AT_FDCWD, image.c_str(), before.data(), 0) == 0);
    Sessions sessions("file:" + image, patient_sender(),
                      patient_receiver("file:" + folder / "copy"));
    if (shrinks) {
        REQUIRE(::truncate(image.c_str(), 32 * kPageSize) == 0);
    } else {
        std::fstream(image, std::ios::in | std::ios::out) << "x";
    }
    const Outcome outcome = sessions.run();
    CHECK_THAT(message_of(outcome.sent), Catch::Contains(image));
    CHECK_FALSE(outcome.received);
    CHECK(folder.names() == std::vector<std::string>{"guest.mem"});
}

TEST_CASE("memory arrives whole in every mode, whatever it holds") {
    for (const char* fill : {"untouched", "read", "zero", "random", "mixed:30"}) {
        for (const auto detection :
             {ZeroPageDetection::kNone, ZeroPageDetection::kLegacy, ZeroPageDetection::kMultifd}) {
            INFO(fill << ", " << name_of(detection));
            SendConfig config = patient_sender();
            config.detection = detection;
            set_negotiated(config.negotiated, "multifd-channels", "3");
            Sessions sessions(std::string("anon:5M,fill=") + fill, config, patient_receiver());
            const Outcome outcome = sessions.run();
            check_success(outcome, 5 * kMiB);
            CHECK(outcome.sender.digests.size() == 1);
            if (detection == ZeroPageDetection::kNone) CHECK(outcome.sender.pages.zero == 0);
        }
    }
}

TEST_CASE(
    "memory arrives whole with every compression, ratio, packet size and number of channels") {
    const auto check = [](const SendConfig& config) {
        Sessions sessions("anon:6M,fill=mixed:50", config, patient_receiver());
        const Outcome outcome = sessions.run();
        check_success(outcome, 6 * kMiB);
        return outcome;
    };
    for (const Compression compression : {Compression::kLz4, Compression::kZstd}) {
        SendConfig config = patient_sender();
        set_negotiated(config.negotiated, "multifd-compression", std::string(name_of(compression)));
        // Zeros sent as normal pages, which compress.
        config.normal_page_ratio = 100;
        CHECK(check(config).sender.payload_bytes < 6 * kMiB);
    }
    for (const unsigned ratio : {0U, 50U, 100U}) {
        SendConfig config = patient_sender();
        config.normal_page_ratio = ratio;
        const transport::PageCounts pages = check(config).sender.pages;
        if (ratio == 100) CHECK(pages.zero == 0);
    }
    for (const std::uint64_t packet_bytes : {kMinPacketBytes, kMaxPacketBytes}) {
        SendConfig config = patient_sender();
        set_negotiated(config.negotiated, "multifd-packet-size", std::to_string(packet_bytes));
        check(config);
    }
    for (const std::uint16_t channels : {std::uint16_t{1}, std::uint16_t{16}}) {
        SendConfig config = patient_sender();
        set_negotiated(config.negotiated, "multifd-channels", std::to_string(channels));
        const Outcome outcome = check(config);
        CHECK(outcome.sender.channels.size() == 1U + channels);
        CHECK(outcome.receiver.channels.size() == 1U + channels);
    }
}

TEST_CASE("untouched memory is counted apart, or looked at with skip-unpopulated=off") {
    Sessions skipping("anon:8M", patient_sender(), patient_receiver());
    const Outcome skipped = skipping.run();
    check_success(skipped, 8 * kMiB);
    CHECK(skipped.sender.pages.unpopulated == 2048);
    SendConfig config = patient_sender();
    config.skip_unpopulated = false;
    Sessions looking("anon:8M", config, patient_receiver());
    const Outcome looked = looking.run();
    check_success(looked, 8 * kMiB);
    CHECK(looked.sender.pages.zero == 2048);
}

TEST_CASE("a sink that discards counts all, but cannot verify") {
    SendConfig config = patient_sender();
    set_negotiated(config.negotiated, "verify", "none");
    Sessions sessions("anon:4M,fill=random", config, patient_receiver("null:"));
    check_success(sessions.run(), 4 * kMiB);

    set_negotiated(config.negotiated, "verify", "digest");
    Sessions verifying("anon:4M,fill=random", config, patient_receiver("null:"));
    std::jthread receiving([&] { static_cast<void>(verifying.receiver->run()); });
    const Status refused = verifying.sender->run();
    CHECK(message_of(refused).find("verify") != std::string::npos);
    CHECK(verifying.sender->report().status == MigrationStatus::kFailed);
    verifying.receiver->cancel("the test is over");
}

// So slow that it does not end by itself.
SendConfig slow_config() {
    SendConfig config = patient_sender();
    config.tunables.max_bandwidth = 1;
    return config;
}

void check_cancelled(const Outcome& outcome, std::string_view reason) {
    for (const Status& status : {outcome.sent, outcome.received}) {
        REQUIRE_FALSE(status);
        INFO(status.error().message());
        CHECK(status.error().kind() == ErrorKind::kCancelled);
        CHECK(status.error().message().find(reason) != std::string::npos);
    }
    CHECK(outcome.sender.status == MigrationStatus::kCancelled);
    CHECK(outcome.receiver.status == MigrationStatus::kCancelled);
    CHECK_FALSE(outcome.sender.error_desc.empty());
}

// Cancels once both are active.
template <typename Session>
std::jthread cancel_when_active(const Sessions& sessions, Session& session, const char* reason) {
    return std::jthread([&sessions, &session, reason](const std::stop_token& stop) {
        const auto active = [](const Report& report) {
            return report.status == MigrationStatus::kActive;
        };
        while (!stop.stop_requested() &&
               !(active(sessions.sender->report()) && active(sessions.receiver->report()))) {
            std::this_thread::yield();
        }
        session.cancel(reason);
    });
}

TEST_CASE("cancelling the sender cancels the receiver, in every mode") {
    for (const auto detection :
         {ZeroPageDetection::kNone, ZeroPageDetection::kLegacy, ZeroPageDetection::kMultifd}) {
        SendConfig config = slow_config();
        config.detection = detection;
        Sessions sessions("anon:16M,fill=random", config, patient_receiver());
        const std::jthread canceller =
            cancel_when_active(sessions, *sessions.sender, "the sender's user");
        check_cancelled(sessions.run(), "the sender's user");
    }
}

TEST_CASE("cancelling the receiver cancels the sender") {
    Sessions sessions("anon:16M,fill=random", slow_config(), patient_receiver());
    const std::jthread canceller =
        cancel_when_active(sessions, *sessions.receiver, "the receiver's user");
    check_cancelled(sessions.run(), "the receiver's user");
}

TEST_CASE("a session cancelled before it runs ends at once") {
    Sessions sessions("anon:1M", patient_sender(), patient_receiver());
    sessions.sender->cancel("changed my mind");
    sessions.receiver->cancel("changed my mind");
    check_cancelled(sessions.run(), "changed my mind");
}

TEST_CASE("sessions that never run end with their owner") {
    Sessions sessions("anon:1M", patient_sender(), patient_receiver());
    CHECK(sessions.sender->report().status == MigrationStatus::kNone);
    CHECK(sessions.receiver->report().status == MigrationStatus::kNone);
    sessions.sender.reset();
    sessions.receiver.reset();
}

TEST_CASE("a session fails if its peer never connects or does not listen") {
    RecvConfig impatient = patient_receiver();
    impatient.listen_timeout = milliseconds(1);
    EventLog events;
    const auto receiver = must(RecvSession::create(impatient, events));
    CHECK(message_of(receiver->run()).find("listen-timeout") != std::string::npos);
    CHECK(receiver->report().status == MigrationStatus::kFailed);

    Sessions sessions("anon:1M", patient_sender(), patient_receiver());
    sessions.receiver.reset();
    CHECK(message_of(sessions.sender->run()).find("refused") != std::string::npos);
    CHECK(sessions.sender->report().status == MigrationStatus::kFailed);
}

TEST_CASE("a stranger before the sender does not stop the migration") {
    Sessions sessions("anon:2M,fill=mixed:10", patient_sender(), patient_receiver());
    const transport::Address address{"127.0.0.1", sessions.receiver->port()};
    const transport::ConnectOptions options{kLong, transport::StallLimits::both(kLong)};
    const transport::Socket silent = must(transport::connect_to(address, options));
    { const transport::Socket gone = must(transport::connect_to(address, options)); }
    check_success(sessions.run(), 2 * kMiB);
}

TEST_CASE("an option that this host does not support is refused before anything is connected") {
    EventLog events;
    const auto source = must(memory::open_page_source("anon:1M"));
    SendConfig config = patient_sender();
    config.zero_kernel = "abacus";
    CHECK(message_of(SendSession::create(config, *source, events)).find("abacus") !=
          std::string::npos);
    CHECK_FALSE(RecvSession::create(patient_receiver("file:/nonexistent/folder/x"), events));
}

}  // namespace
}  // namespace migrate::engine
