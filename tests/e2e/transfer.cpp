// SPDX-License-Identifier: Apache-2.0
#include "e2e/transfer.hpp"

#include <algorithm>

#include "catch.hpp"

namespace migrate::e2e {
namespace {

using Json = nlohmann::json;

std::uint64_t sum_of(const Json& channels, const char* key) {
    std::uint64_t sum = 0;
    for (const Json& channel : channels) sum += channel.at(key).get<std::uint64_t>();
    return sum;
}

void check_side(const Json& side) {
    INFO(side.dump(1));
    CHECK(side.at("status") == "completed");
    const Json& ram = side.at("ram");
    const auto figure = [&](const char* key) { return ram.at(key).get<std::uint64_t>(); };
    const Json& channels = side.at("channels");
    const std::uint64_t planned = ram.contains("planned-pages")
                                      ? figure("planned-pages") - figure("postponed-pages")
                                      : figure("total") / figure("page-size") - figure("reused");
    CHECK(figure("normal") + figure("duplicate") + figure("unpopulated") == planned);
    CHECK(figure("normal-bytes") == figure("normal") * figure("page-size"));
    CHECK(figure("payload-bytes") + figure("header-bytes") == figure("transferred"));
    CHECK(sum_of(channels, "bytes") == figure("transferred"));
    CHECK(sum_of(channels, "payload-bytes") == figure("payload-bytes"));
    CHECK(sum_of(channels, "normal") == figure("normal"));
    CHECK(sum_of(channels, "duplicate") == figure("duplicate"));
    CHECK(sum_of(channels, "unpopulated") == figure("unpopulated"));
    REQUIRE(!channels.empty());
    CHECK(channels.at(0).at("name") == "main");
    std::uint64_t multifd = 0;
    for (const Json& channel : channels) {
        if (channel.at("name") != "main") multifd += channel.at("bytes").get<std::uint64_t>();
    }
    CHECK(figure("multifd-bytes") == multifd);
    CHECK(channels.size() - 1 == side.at("multifd").at("channels"));
    const Json& chosen = side.at("settings").at("multifd-channels");
    if (chosen != "auto") CHECK(channels.size() - 1 == chosen);
}

}  // namespace

std::uint64_t TransferStats::ram(const std::string& name) const {
    return sender.at("ram").at(name).get<std::uint64_t>();
}

std::vector<std::string> send_arguments(const Receiver& receiver, const std::string& source,
                                        const std::vector<std::string>& options) {
    return send_arguments(receiver.endpoint(), source, options);
}

std::vector<std::string> send_arguments(const std::string& endpoint, const std::string& source,
                                        const std::vector<std::string>& options) {
    std::vector<std::string> arguments{"send", "--connect", endpoint, "--source", source};
    const auto given = [&](const char* option) {
        return std::find(options.begin(), options.end(), option) != options.end();
    };
    if (source.starts_with("workload:") && !given("--downtime-limit") &&
        !given("--max-bandwidth")) {
        arguments.insert(arguments.end(), {"--downtime-limit", kAnyDowntime});
    }
    arguments.insert(arguments.end(), options.begin(), options.end());
    return arguments;
}

nlohmann::json read_stats(const std::string& path) {
    Json stats = Json::parse(read_file(path), nullptr, false);
    if (!stats.is_object()) FAIL(path << " holds no statistics");
    return stats;
}

void check_accounting(const TransferStats& stats) {
    check_side(stats.sender);
    check_side(stats.receiver);
    for (const char* key : {"total", "transferred", "normal", "duplicate", "unpopulated",
                            "payload-bytes", "multifd-bytes"}) {
        INFO(key);
        CHECK(stats.sender.at("ram").at(key) == stats.receiver.at("ram").at(key));
    }
    // Channel by channel, too.
    CHECK(stats.sender.at("channels") == stats.receiver.at("channels"));
}

TransferStats run_transfer(const TemporaryFolder& folder, const Transfer& transfer) {
    const std::string send_stats = folder / "send.json";
    const std::string recv_stats = folder / "recv.json";
    // 64 compressors of packets of 4 MiB take ThreadSanitizer longer to make than the default.
    const std::vector<std::string> patience{"--handshake-timeout", "50s"};
    std::vector<std::string> recv_options{"--sink", transfer.sink, "--stats", recv_stats};
    recv_options.insert(recv_options.end(), patience.begin(), patience.end());
    recv_options.insert(recv_options.end(), transfer.recv_options.begin(),
                        transfer.recv_options.end());
    Receiver receiver(recv_options);
    std::vector<std::string> send_options{"--stats", send_stats};
    send_options.insert(send_options.end(), patience.begin(), patience.end());
    send_options.insert(send_options.end(), transfer.send_options.begin(),
                        transfer.send_options.end());
    std::vector<std::string> command = transfer.send_under;
    command.push_back(MIGRATE_BINARY);
    const std::vector<std::string> arguments =
        send_arguments(receiver, transfer.source, send_options);
    command.insert(command.end(), arguments.begin(), arguments.end());
    Process sender(command.front(), {command.begin() + 1, command.end()});
    const int sent = sender.wait();
    const int received = receiver->wait();
    INFO("sender:\n" << sender.both() << "receiver:\n" << receiver->both());
    REQUIRE(sent == 0);
    REQUIRE(received == 0);
    TransferStats stats{read_stats(send_stats), read_stats(recv_stats)};
    check_accounting(stats);
    return stats;
}

}  // namespace migrate::e2e
