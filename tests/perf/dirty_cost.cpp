// SPDX-License-Identifier: Apache-2.0
// Measures what a dirty tracker costs: a collection, and the writes of the guest. Prints one JSON
// object. It calls the tracker itself, so that it cannot be a scenario of `migrate bench`.
#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "base/config/unit_text.hpp"
#include "base/units.hpp"
#include "perf/arguments.hpp"
#include "perf/dirty_loop.hpp"

namespace {

using migrate::make_error;
using migrate::Result;
using migrate::Status;
namespace perf = migrate::perf;

constexpr std::string_view kUsage =
    "Usage: dirty_cost [tracker=uffd-wp|hash] [ram=memfd|small|huge] [size=1G] [percent=1]\n"
    "                  [rounds=20]\n";

using perf::Arguments;

Result<Arguments> parse(int argc, char** argv) {
    return perf::parse_arguments(argc, argv,
                                 {{"tracker", "uffd-wp"},
                                  {"ram", "memfd"},
                                  {"size", "1G"},
                                  {"percent", "1"},
                                  {"rounds", "20"}});
}

Result<perf::DirtyLoop> loop_of(const Arguments& arguments) {
    const auto ram = perf::guest_ram_named(arguments.at("ram"));
    if (!ram) {
        return make_error(migrate::ErrorKind::kUsage, "ram={}: use memfd, small or huge",
                          arguments.at("ram"));
    }
    perf::DirtyLoop loop{.tracker = arguments.at("tracker"), .ram = *ram};
    MIGRATE_ASSIGN(const std::uint64_t bytes, migrate::parse_bytes(arguments.at("size")));
    MIGRATE_ASSIGN(const std::uint64_t rounds, migrate::parse_integer(arguments.at("rounds")));
    loop.bytes = bytes / migrate::kPageSize * migrate::kPageSize;
    loop.percent = std::atof(arguments.at("percent").c_str());
    loop.rounds = static_cast<unsigned>(rounds);
    if (loop.bytes == 0 || loop.rounds == 0 || !(loop.percent > 0)) {
        return make_error(migrate::ErrorKind::kUsage, "size, rounds and percent must not be 0");
    }
    return loop;
}

Status run(int argc, char** argv) {
    MIGRATE_ASSIGN(const Arguments arguments, parse(argc, argv));
    MIGRATE_ASSIGN(const perf::DirtyLoop loop, loop_of(arguments));
    MIGRATE_ASSIGN(const perf::DirtyFigures figures, perf::run_dirty_loop(loop));
    fmt::print(
        "{{\"bytes\": {}, \"dirty-pages\": {}, \"start-ms\": {:.3f}, \"collect-ms\": {:.3f}, "
        "\"collect-worst-ms\": {:.3f}, \"peek-ms\": {:.3f}, \"stop-ms\": {:.3f}, "
        "\"plain-writes-per-s\": {:.0f}, "
        "\"tracked-writes-per-s\": {:.0f}}}\n",
        loop.bytes, figures.dirty_pages, figures.start_ms, figures.collect_median_ms,
        figures.collect_worst_ms, figures.peek_median_ms, figures.stop_ms,
        figures.writes_per_s_plain, figures.writes_per_s_tracked);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    const Status status = run(argc, argv);
    if (status) return 0;
    const bool usage = status.error().kind() == migrate::ErrorKind::kUsage;
    fmt::print(stderr, "dirty_cost: {}\n{}", status.error().message(), usage ? kUsage : "");
    return usage ? 2 : 1;
}
