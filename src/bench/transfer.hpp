// One run of a variant: `migrate recv` and `migrate send` as two processes, and what they report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"

namespace migrate::bench {

// Where a run's files go, and what ends it early.
struct RunPlace {
    std::filesystem::path folder;  // of this run only, on tmpfs
    std::filesystem::path image;   // empty: none
    std::uint64_t timeout_ms = 0;
    unsigned legs = 0;  // of a run that goes there and back; 0: there only
    int stop_fd = -1;   // readable: interrupted
};

// {"commands", "wall-ms", "cpu-ms": {"send", "recv"}, "send", "recv"}: the statistics of both sides
// as they wrote them; of a run there and back "legs" instead, what each leg's sender wrote.
// kCancelled when interrupted; any other error is the run's.
Result<Json> run_transfer(const PlannedVariant& planned, const RunPlace& place);

// A small file's content; empty if there is none.
std::string file_content(const std::filesystem::path& path);

// The text with {image} and {scratch} in it replaced.
std::string in_place(std::string text, const RunPlace& place);

}  // namespace migrate::bench
