// SPDX-License-Identifier: Apache-2.0
#include "e2e/broken_run.hpp"

#include <algorithm>

#include "catch.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

// The most that is in flight on one connection: its buffers at both hosts and in the proxy between
// them, and the packet that is being sent.
constexpr std::uint64_t kMostInFlight = 24 * kMiBytes;
// The most that is in flight on the main channel.
constexpr std::uint64_t kMostFrames = 4096;

}  // namespace

std::uint64_t any_of(std::mt19937& random, std::uint64_t first, std::uint64_t last) {
    return std::uniform_int_distribution<std::uint64_t>(first, last)(random);
}

Broken run_broken(const TemporaryFolder& folder, const Attempt& attempt,
                  const std::vector<Cut>& cuts) {
    Receiver receiver(
        {"--sink", attempt.sink, "--stats", folder / "recv.json", "--run-for", "50ms"});
    const TcpProxy network(receiver.port(), cuts, attempt.most_connections);
    std::vector<std::string> options{"--stats", folder / "send.json"};
    options.insert(options.end(), attempt.send_options.begin(), attempt.send_options.end());
    Process sender(send_arguments(network.endpoint(), attempt.source, options));
    const int sent = sender.wait();
    const int received = receiver->wait();
    Broken broken{.sent = read_stats(folder / "send.json"),
                  .received = read_stats(folder / "recv.json"),
                  .output = "sender:\n" + sender.both() + "receiver:\n" + receiver->both(),
                  .cuts = network.cuts()};
    INFO(broken.output);
    CHECK(attempt.receiver_code.value_or(sent) == received);
    CHECK(sent == attempt.code.value_or(sent));
    return broken;
}

void check_repaired(const Broken& broken, const std::vector<Cut>& cuts) {
    INFO(broken.output);
    const auto& sent = broken.sent.at("ram");
    const auto& received = broken.received.at("ram");
    for (const char* key : {"total", "normal", "duplicate", "unpopulated"}) {
        INFO(key);
        CHECK(sent.at(key) == received.at(key));
    }
    // A reset ends the sender's channel at once. After an orderly end, this network takes all that
    // the sender still sends, so the sender learns of the loss only at the end of the round.
    const bool resets = std::all_of(cuts.begin(), cuts.end(),
                                    [](const Cut& cut) { return cut.by == CutBy::kReset; });
    const std::uint64_t lost = broken.outage("channels-lost");
    if (resets) CHECK(broken.outage("bytes-lost") <= lost * kMostInFlight);
    // Bytes that did not arrive count as lost, but for frames of the main channel. With TLS, a part
    // of a send that failed may have arrived.
    // The loss of DONE_ACK is one that the sender does not notice.
    const std::uint64_t frames = (broken.outage("main-channel-lost") + 1) * kMostFrames;
    CHECK(sent.at("transferred").get<std::uint64_t>() - broken.outage("bytes-lost") <=
          received.at("transferred").get<std::uint64_t>() + frames);
}

std::vector<Cut> random_cuts(std::mt19937& random, std::uint64_t channels, std::uint64_t most) {
    std::vector<Cut> cuts;
    for (std::uint64_t count = any_of(random, 1, 6); count > 0; --count) {
        Cut cut{.connection = any_of(random, 1, channels + 3),
                .by = any_of(random, 0, 1) == 0 ? CutBy::kFin : CutBy::kReset};
        cut.when.own_bytes = any_of(random, 33, most);
        cuts.push_back(cut);
    }
    return cuts;
}

std::string describe_all(const std::vector<Cut>& cuts) {
    std::string text;
    for (const Cut& cut : cuts) text += describe(cut) + "; ";
    return text;
}

}  // namespace migrate::e2e
