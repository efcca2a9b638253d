// SPDX-License-Identifier: Apache-2.0
// Writes the fuzz targets' seed corpora: make_corpus FOLDER makes a folder for each target in
// FOLDER, such as FOLDER/packet_fuzz.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <string>

#include "guest/bundle/bundle_manifest.hpp"
#include "guest/workload_state.hpp"
#include "memory/sink/resume_journal.hpp"
#include "tests/support/negotiated.hpp"
#include "tls_connection.hpp"
#include "transport/arrived_pages.hpp"
#include "transport/control_frame.hpp"
#include "transport/handshake.hpp"
#include "transport/page_digests.hpp"
#include "transport/payload_checksum.hpp"
#include "transport/wire.hpp"

namespace {

using namespace migrate;
using namespace migrate::transport;

template <typename Bytes>
std::string text_of(const Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool write(const std::filesystem::path& path, const std::string& content) {
    std::ofstream file(path, std::ios::binary);
    file << content;
    return file.good();
}

bool write_packets(const std::filesystem::path& folder) {
    RunListEncoder encoder;
    encoder.restart(3);
    bool ok = encoder.append({{3, 4}, PageKind::kNormal}) &&
              encoder.append({{7, 200}, PageKind::kZero}) &&
              encoder.append({{300, 5}, PageKind::kUnpopulated});
    const auto runs = encoder.finish();
    PacketHeader header{
        .round = 1, .first_page = 3, .normal_pages = 4, .payload_bytes = 4 * kPageSize};
    const auto packet = [&](const std::string& prefix) {
        return prefix + text_of(encode_packet_header(header, runs)) + text_of(runs);
    };
    ok = write(folder / "raw", packet(std::string("\x01\x20\x0A\x00", 4))) && ok;
    header.compression = Compression::kLz4;
    header.payload_bytes = 77;
    ok = write(folder / "lz4", packet(std::string("\x03\x20\x0A\x00", 4))) && ok;
    ok = write(folder / "checked", packet(std::string("\x02\x20\x0A\x00", 4))) && ok;
    const PacketHeader sync{.kind = PacketKind::kSync, .round = 1};
    return write(folder / "sync",
                 std::string("\x01\x20\x0A\x00", 4) + text_of(encode_packet_header(sync, {}))) &&
           ok;
}

bool write_handshakes(const std::filesystem::path& folder) {
    const std::string offer =
        encode(Offer{.program = "fuzz",
                     .regions = {{"ram", kGiB}, {"vga", 16 * kPageSize}},
                     .settings = negotiated({{"multifd-channels", "8"}, {"verify", "digest"}})});
    const std::string body(1, '\0');
    const std::string frames(1, '\1');
    return write(folder / "offer", body + offer) &&
           write(folder / "accept", body + encode(Accept{{}, "p", "s"})) &&
           write(folder / "mark", body + encode(RoundMark{1})) &&
           write(folder / "completion", body + encode(Completion{{1, 2, 3}, {"ab"}})) &&
           write(folder / "done", body + encode(Done{{1, 2, 3}})) &&
           write(folder / "failure", body + encode(Failure{true, "why\n"})) &&
           write(folder / "frames", frames + encode_frame(FrameType::kOffer, offer) +
                                        encode_frame(FrameType::kHeartbeat, "")) &&
           write(folder / "hello",
                 std::string(1, '\2') + text_of(encode_hello({.channel = ChannelId{3}})));
}

// The frames of a round in which channels were lost.
bool write_repair_frames(const std::filesystem::path& folder) {
    const std::string body(1, '\0');
    ArrivedEncoder arrived(1);
    static_cast<void>(arrived.add(RegionId{0}, {2, 5}));
    return write(folder / "round-arrived", body + arrived.finish()) &&
           write(folder / "round-broken",
                 body + encode(RoundBreak{1, 5, {{1, 4096, {1, 2, 3}}}})) &&
           write(folder / "resume", body + encode(Resume{3, {4096, 8192}, true})) &&
           write(folder / "resumed",
                 body + encode(Resumed{3, true, 4, LoadTime{2000}, true, true})) &&
           write(folder / "round-end-lost", body + encode(RoundMark{1, 77, {1, 3}})) &&
           write(folder / "replace", body + encode(ChannelCount{.channels = 5, .lost = {1}}));
}

// The additional frames of a session with a guest.
bool write_live_frames(const std::filesystem::path& folder) {
    const std::string body(1, '\0');
    const std::string mark = encode(RoundMark{2, 77});
    const std::string time = encode(LoadTime{2000});
    const std::string pause = encode(PauseTime{70'000});
    const std::string failure = encode(Failure{false, "why", true});
    return write(folder / "round-done", body + mark) && write(folder / "load-time", body + time) &&
           write(folder / "pause-time", body + pause) &&
           write(folder / "guest-runs", body + failure) &&
           write(folder / "resumed", body + encode(Done{{1, 2, 3}, 50, 7000})) &&
           write(folder / "guest-offer",
                 body + encode(Offer{
                            .program = "fuzz", .regions = {{"ram", kGiB}}, .guest = "workload"})) &&
           write(folder / "journey",
                 body + encode(Offer{.program = "fuzz",
                                     .regions = {{"ram", kGiB}},
                                     .guest = "workload",
                                     .devices = {{"vf", 1, "sim", "size=1024"}},
                                     .journey = {.leg = 1,
                                                 .legs = 2,
                                                 .return_port = 4445,
                                                 .options = {{"stall-limit", "5s"}}}})) &&
           write(folder / "live", std::string(1, '\1') + encode_frame(FrameType::kRoundDone, mark) +
                                      encode_frame(FrameType::kSwitchoverAck, time) +
                                      encode_frame(FrameType::kSwitchoverStart, "{}") +
                                      encode_frame(FrameType::kDeviceState, "MWLD\1") +
                                      encode_frame(FrameType::kLoaded, time) +
                                      encode_frame(FrameType::kHandover, "{}") +
                                      encode_frame(FrameType::kFailure, failure));
}

bool write_states(const std::filesystem::path& folder) {
    using namespace migrate::guest;
    WorkloadSpec spec{.size_bytes = 16 * kPageSize, .working_set_bytes = 8 * kPageSize};
    WorkloadState state = initial_state(spec);
    bool ok = write(folder / "fresh", encode_state(state));
    spec.fill = Fill::kNone;
    ok = write(folder / "empty", encode_state(initial_state(spec))) && ok;
    spec.pattern = Pattern::kHotSpot;
    spec.threads = 2;
    state = initial_state(spec);
    state.run_time_us = 5'000'000;
    state.vcpus = {{1000, 1'700'000'000'000'000}, {1, 1'700'000'000'000'000}};
    ok = write(folder / "ran", encode_state(state)) && ok;
    spec.size_bytes = spec.working_set_bytes = kGiB;
    spec.threads = kMaxVcpus;
    return write(folder / "large", encode_state(initial_state(spec))) && ok;
}

bool write_manifests(const std::filesystem::path& folder) {
    using namespace migrate::guest;
    const std::string digest(32, 'a');
    BundleManifest manifest{.program = "migrate 0.1.0",
                            .guest = "qemu",
                            .region_names = {"pc.ram"},
                            .regions = {{"memory-0.0123456789abcdef", kGiB, digest}},
                            .devices = {"devices.0123456789abcdef", 77, digest},
                            .machine = {},
                            .settings = {}};
    const bool ok = write(folder / "small", to_text(manifest));
    manifest.region_names.emplace_back("/rom@etc/acpi/tables");
    manifest.regions.push_back({"memory-1.0123456789abcdef", kPageSize, digest});
    manifest.machine = {{.place = "pcie.0/02.0",
                         .type = "virtio-net-pci",
                         .name = "net0",
                         .properties = {{"mq", "on"}}}};
    manifest.settings = {{"verify", "digest"}};
    return write(folder / "large", to_text(manifest)) && ok;
}

// Journals of partial images, their records, and questions for pages.
bool write_journals(const std::filesystem::path& folder) {
    using namespace migrate::memory;
    const std::string header =
        text_of(encode_journal_header({.size_bytes = kGiB, .id = 5, .source = "host a"}));
    const JournalRecord placed{.pages = {7, 2}, .digests = {{1, 2}, {3, 4}}};
    const JournalRecord given_up{.kind = JournalRecord::Kind::kGivenUp, .pages = {7, 1}};
    PageDigestsBuilder builder;
    for (const std::uint64_t page : std::initializer_list<std::uint64_t>{1, 2, 3, 90, 500}) {
        require(builder.add(RegionId{0}, page, {page, ~page}));
    }
    return write(folder / "header", header) &&
           write(folder / "placed", text_of(encode_journal_record(placed, 1, 2))) &&
           write(folder / "given-up", text_of(encode_journal_record(given_up, 1, 2))) &&
           write(folder / "digests", builder.take()) &&
           write(folder / "reused", encode_pages_reused({true, false, true}));
}

// The first bytes that a stranger sends.
bool write_first_bytes(const std::filesystem::path& folder) {
    const FuzzKey key;
    const auto sender = key.endpoint();
    TcpPairs pairs;
    const TcpPairs::Pair pair = pairs.make();
    const auto handshake = sure(sender->begin_main(
        pair.near.get(), sure(sender->context(TlsRole::kClient, {})), "127.0.0.1"));
    require(static_cast<bool>(handshake->advance()));
    std::array<char, 4096> said{};
    const ssize_t size = ::recv(pair.far.get(), said.data(), said.size(), 0);
    require(size > 0);
    const std::string client_hello(said.data(), static_cast<std::size_t>(size));
    return write(folder / "client-hello", client_hello) &&
           write(folder / "half", client_hello.substr(0, client_hello.size() / 2)) &&
           write(folder / "twice", client_hello + client_hello) &&
           write(folder / "alert", std::string("\x15\x03\x03\x00\x02\x02\x28", 7)) &&
           write(folder / "plaintext", text_of(encode_hello({}))) &&
           write(folder / "http", "GET / HTTP/1.1\r\n\r\n");
}

// Packets of a channel with one region of 64 pages, up to the end of its round.
std::string first_round(bool checksums) {
    RunListEncoder encoder;
    encoder.restart(3);
    require(encoder.append({{3, 2}, PageKind::kNormal}) &&
            encoder.append({{7, 20}, PageKind::kZero}) &&
            encoder.append({{40, 5}, PageKind::kUnpopulated}));
    const auto runs = encoder.finish();
    PacketHeader header{
        .round = 1, .first_page = 3, .normal_pages = 2, .payload_bytes = 2 * kPageSize};
    header.has_checksum = checksums;
    const PacketHeaderBytes bytes = encode_packet_header(header, runs);
    const std::string content(2 * kPageSize, 'x');
    std::string packet = text_of(bytes) + text_of(runs) + content;
    if (checksums) {
        PayloadChecksum checksum;
        checksum.restart();
        checksum.add(std::as_bytes(std::span(content)));
        packet += text_of(checksum.finish(bytes));
    }
    return packet + text_of(encode_packet_header(
                        {.kind = PacketKind::kSync, .round = 1, .sequence = 1}, {}));
}

// Messages of a peer with credentials; the target reads the first two bytes itself.
bool write_behind_tls(const std::filesystem::path& folder) {
    const std::string offer =
        encode(Offer{.program = "fuzz",
                     .regions = {{"ram", kGiB}},
                     .settings = negotiated({{"multifd-channels", "8"}, {"verify", "digest"}})});
    const auto prefix = [](char what, char limits) { return std::string{what, limits}; };
    const std::string frames =
        encode_frame(FrameType::kRoundStart, encode(RoundMark{1})) +
        encode_frame(FrameType::kHeartbeat, "") +
        encode_frame(FrameType::kRoundEnd, encode(RoundMark{1})) +
        encode_frame(FrameType::kComplete, encode(Completion{{1, 2, 3}, {}}));
    return write(folder / "whole", prefix(0, 0) + text_of(encode_hello({})) +
                                       encode_frame(FrameType::kOffer, offer)) &&
           write(folder / "offer", prefix(1, 0) + offer) &&
           write(folder / "frames", prefix(2, 0) + frames) &&
           write(folder / "packets", prefix(3, 0) + first_round(false)) &&
           write(folder / "dropped", prefix(3, 0x40) + first_round(false)) &&
           write(folder / "checked", prefix(3, 0x20) + first_round(true));
}

bool write_requests(const std::filesystem::path& folder) {
    const std::string negotiate = R"(#{"execute":"qmp_capabilities","id":[1]})";
    return write(folder / "negotiate", negotiate) &&
           write(folder / "echo",
                 negotiate + R"({'execute':'echo','arguments':{"a":["\"{",1e5,null]}})") &&
           write(folder / "query", negotiate + R"({"execute":"query-commands"} {"exec)") &&
           write(folder / "garbage", "#GET /\r\n{\"a\":\xFF[1,}]" + negotiate);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: make_corpus FOLDER\n";
        return 2;
    }
    const std::filesystem::path root(argv[1]);
    using Write = bool (*)(const std::filesystem::path&);
    constexpr std::pair<const char*, Write> kCorpora[] = {
        {"packet_fuzz", write_packets},        {"handshake_fuzz", write_handshakes},
        {"handshake_fuzz", write_live_frames}, {"handshake_fuzz", write_repair_frames},
        {"qmp_fuzz", write_requests},          {"state_fuzz", write_states},
        {"manifest_fuzz", write_manifests},    {"before_tls_fuzz", write_first_bytes},
        {"behind_tls_fuzz", write_behind_tls}, {"journal_fuzz", write_journals}};
    const bool written =
        std::all_of(std::begin(kCorpora), std::end(kCorpora), [&](const auto& one) {
            std::error_code error;
            std::filesystem::create_directories(root / one.first, error);
            return one.second(root / one.first);
        });
    if (written) return 0;
    std::cerr << "make_corpus: cannot write to " << root << '\n';
    return 1;
}
