// The plain loops that scripts/measure compares migrate with. Prints one JSON object.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "base/units.hpp"
#include "perf/dirty_loop.hpp"
#include "perf/network_loop.hpp"
#include "perf/read_loop.hpp"

namespace {

using migrate::make_error;
using migrate::Result;
using migrate::Status;
namespace perf = migrate::perf;

constexpr std::string_view kUsage =
    "Usage: bare_loops network [receiver=discard|truncate|huge|small|shared] [channels=8] [gib=2]\n"
    "                          [chunk=524288] [source=huge|small]\n"
    "       bare_loops read [threads=2] [gib=2] [pages=huge|small]\n"
    "       bare_loops dirty [tracker=uffd-wp|hash] [ram=memfd|small|huge] [gib=1] [percent=1]\n"
    "                        [rounds=20]\n"
    "       bare_loops warm [gib=2]\n";

using Arguments = std::map<std::string, std::string>;

// The arguments given, over the ones that the command knows with their defaults.
Result<Arguments> parse(int argc, char** argv, Arguments known) {
    for (int i = 2; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const auto equals = argument.find('=');
        const auto place = known.find(std::string(argument.substr(0, equals)));
        if (equals == std::string_view::npos || place == known.end()) {
            return make_error(migrate::ErrorKind::kUsage, "unknown argument '{}'", argument);
        }
        place->second = argument.substr(equals + 1);
    }
    return known;
}

Result<std::uint64_t> positive(const Arguments& arguments, const std::string& name,
                               std::uint64_t unit) {
    const double number = std::atof(arguments.at(name).c_str());
    const auto value = static_cast<std::uint64_t>(number * static_cast<double>(unit));
    if (!(number > 0) || value == 0) {
        return make_error(migrate::ErrorKind::kUsage, "{}={} is no positive number", name,
                          arguments.at(name));
    }
    return value;
}

Result<perf::PageSizing> sizing(const Arguments& arguments, const std::string& name) {
    const std::string& word = arguments.at(name);
    if (word == "huge") return perf::PageSizing::kHuge;
    if (word == "small") return perf::PageSizing::kSmall;
    return make_error(migrate::ErrorKind::kUsage, "{}={} is neither huge nor small", name, word);
}

Status network(int argc, char** argv) {
    MIGRATE_ASSIGN(const Arguments arguments, parse(argc, argv,
                                                    {{"receiver", "discard"},
                                                     {"channels", "8"},
                                                     {"gib", "2"},
                                                     {"chunk", "524288"},
                                                     {"source", "huge"}}));
    const auto receiver = perf::receiver_named(arguments.at("receiver"));
    if (!receiver) return make_error(migrate::ErrorKind::kUsage, "there is no such receiver");
    perf::NetworkLoop loop{.receiver = *receiver};
    MIGRATE_ASSIGN(const std::uint64_t channels, positive(arguments, "channels", 1));
    loop.channels = static_cast<unsigned>(channels);
    MIGRATE_ASSIGN(loop.chunk, positive(arguments, "chunk", 1));
    MIGRATE_ASSIGN(const std::uint64_t bytes, positive(arguments, "gib", migrate::kGiB));
    loop.bytes = bytes / loop.chunk * loop.chunk;
    MIGRATE_ASSIGN(loop.source, sizing(arguments, "source"));
    MIGRATE_ASSIGN(const perf::NetworkFigures figures, perf::run_network_loop(loop));
    fmt::print(
        "{{\"bytes\": {}, \"seconds\": {:.6f}, \"gb-per-s\": {:.3f}, \"sender-cpu-s\": {:.3f}, "
        "\"receiver-cpu-s\": {:.3f}}}\n",
        loop.bytes, figures.seconds, static_cast<double>(loop.bytes) / figures.seconds / 1e9,
        figures.sender_cpu_s, figures.receiver_cpu_s);
    return {};
}

Status read(int argc, char** argv) {
    MIGRATE_ASSIGN(const Arguments arguments,
                   parse(argc, argv, {{"threads", "2"}, {"gib", "2"}, {"pages", "huge"}}));
    MIGRATE_ASSIGN(const std::uint64_t threads, positive(arguments, "threads", 1));
    MIGRATE_ASSIGN(const std::uint64_t bytes, positive(arguments, "gib", migrate::kGiB));
    MIGRATE_ASSIGN(const perf::PageSizing pages, sizing(arguments, "pages"));
    MIGRATE_ASSIGN(const perf::ReadFigures figures,
                   perf::run_read_loop(static_cast<unsigned>(threads), bytes, pages));
    fmt::print("{{\"bytes\": {}, \"seconds\": {:.6f}, \"gb-per-s\": {:.3f}, \"loads\": \"{}\"}}\n",
               bytes, figures.seconds, static_cast<double>(bytes) / figures.seconds / 1e9,
               figures.loads);
    return {};
}

Status dirty(int argc, char** argv) {
    MIGRATE_ASSIGN(const Arguments arguments, parse(argc, argv,
                                                    {{"tracker", "uffd-wp"},
                                                     {"ram", "memfd"},
                                                     {"gib", "1"},
                                                     {"percent", "1"},
                                                     {"rounds", "20"}}));
    const auto ram = perf::guest_ram_named(arguments.at("ram"));
    if (!ram) return make_error(migrate::ErrorKind::kUsage, "there is no such ram");
    perf::DirtyLoop loop{.tracker = arguments.at("tracker"), .ram = *ram};
    MIGRATE_ASSIGN(const std::uint64_t pages,
                   positive(arguments, "gib", migrate::kGiB / migrate::kPageSize));
    loop.bytes = pages * migrate::kPageSize;
    loop.percent = std::atof(arguments.at("percent").c_str());
    MIGRATE_ASSIGN(const std::uint64_t rounds, positive(arguments, "rounds", 1));
    loop.rounds = static_cast<unsigned>(rounds);
    MIGRATE_ASSIGN(const perf::DirtyFigures figures, perf::run_dirty_loop(loop));
    fmt::print(
        "{{\"bytes\": {}, \"dirty-pages\": {}, \"start-ms\": {:.3f}, \"collect-ms\": {:.3f}, "
        "\"collect-worst-ms\": {:.3f}, \"stop-ms\": {:.3f}, \"plain-writes-per-s\": {:.0f}, "
        "\"tracked-writes-per-s\": {:.0f}}}\n",
        loop.bytes, figures.dirty_pages, figures.start_ms, figures.collect_median_ms,
        figures.collect_worst_ms, figures.stop_ms, figures.writes_per_s_plain,
        figures.writes_per_s_tracked);
    return {};
}

Status warm(int argc, char** argv) {
    MIGRATE_ASSIGN(const Arguments arguments, parse(argc, argv, {{"gib", "2"}}));
    MIGRATE_ASSIGN(const std::uint64_t bytes, positive(arguments, "gib", migrate::kGiB));
    return perf::warm(bytes);
}

Status run(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "network") return network(argc, argv);
    if (command == "read") return read(argc, argv);
    if (command == "dirty") return dirty(argc, argv);
    if (command == "warm") return warm(argc, argv);
    return make_error(migrate::ErrorKind::kUsage, "it takes one of the commands below");
}

}  // namespace

int main(int argc, char** argv) {
    const Status status = run(argc, argv);
    if (status) return 0;
    const bool usage = status.error().kind() == migrate::ErrorKind::kUsage;
    fmt::print(stderr, "bare_loops: {}\n{}", status.error().message(), usage ? kUsage : "");
    return usage ? 2 : 1;
}
