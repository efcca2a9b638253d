// SPDX-License-Identifier: Apache-2.0
// One run of a variant: `migrate recv` and `migrate send` as two processes, and what they report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"

namespace migrate::bench {

// The place of a run's files, and what ends it early.
struct RunPlace {
    std::filesystem::path folder;  // of this run only, on tmpfs
    std::filesystem::path image;   // empty: none
    std::uint64_t timeout_ms = 0;
    unsigned legs = 0;          // of a run that goes there and back; 0: there only
    bool watch_memory = false;  // report the peak memory of both processes, which costs some speed
    int stop_fd = -1;           // readable: interrupted
};

// {"commands", "wall-ms", "cpu-ms": {"send", "recv"}, "send", "recv"}: the statistics of both sides
// as they wrote them. A run there and back has "legs" instead, with each leg's sender. A watched
// one has "peak-memory": {"send", "recv"} in bytes. Fails where the two sides' statistics disagree.
// kCancelled when interrupted; any other error is the run's.
Result<Json> run_transfer(const PlannedVariant& planned, const RunPlace& place);

// A small file's content; empty if there is none.
std::string file_content(const std::filesystem::path& path);

// Replaces {image} and {scratch} in the text.
std::string in_place(std::string text, const RunPlace& place);

}  // namespace migrate::bench
