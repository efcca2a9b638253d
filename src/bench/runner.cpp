// SPDX-License-Identifier: Apache-2.0
#include "bench/runner.hpp"

#include <cstdlib>
#include <system_error>

#include "bench/baseline.hpp"
#include "bench/figures.hpp"
#include "bench/image.hpp"
#include "bench/qemu_peer.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {
namespace {

namespace fs = std::filesystem;

// "612 ms": the outcome in the line that a run leaves on the terminal.
std::string outcome_of(const Json& run) {
    if (run.contains("error")) {
        const std::string error = text_at(run, "error");
        return "failed: " + error.substr(0, error.find('\n'));
    }
    if (const auto legs = run.find("legs"); legs != run.end()) {
        return fmt::format("{} legs", legs->size());
    }
    const auto total = figure(run, "total-time");
    return total ? fmt::format("{:.1f} ms", *total) : "done";
}

// Keeps the run; it replaces a failed one of the same turn in a resumed scenario.
void keep(Json& scenario, Json run) {
    Json& runs = scenario["runs"];
    for (Json& old : runs) {
        if (old["variant"] == run["variant"] && old["turn"] == run["turn"]) {
            old = std::move(run);
            return;
        }
    }
    runs.push_back(std::move(run));
}

}  // namespace

Result<Runner> Runner::create(const fs::path& scratch, Results& results, Terminal& terminal,
                              int stop_fd) {
    std::string name = (scratch / "migrate-bench.XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
        return Error::system(fmt::format("make a folder in {}", scratch.string()), errno)
            .as(ErrorKind::kUsage);
    }
    return Runner(name, results, terminal, stop_fd);
}

Runner::~Runner() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

void Runner::drop_images(const std::string& but) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
        if (entry.path().extension() == ".mem" && entry.path().filename() != but)
            fs::remove(entry.path(), ignored);
    }
}

Result<fs::path> Runner::image_for(const PlannedVariant& planned) {
    const std::string name = planned.image ? planned.image->name() : "";
    drop_images(name);
    if (!planned.image) return fs::path();
    fs::path path = folder_ / name;
    if (!fs::exists(path)) MIGRATE_TRY(make_image(*planned.image, path, stop_fd_));
    return path;
}

Result<Json> Runner::run_once(const Plan& plan, const PlannedVariant& planned) {
    RunPlace place{.folder = folder_ / "run",
                   .image = {},
                   .timeout_ms = plan.scenario.timeout_ms,
                   .legs = plan.legs,
                   .stop_fd = stop_fd_};
    MIGRATE_ASSIGN(place.image, image_for(planned));
    std::error_code failed;
    fs::create_directory(place.folder, failed);
    if (failed) return make_error("cannot make {}: {}", place.folder.string(), failed.message());
    place.watch_memory = plan.scenario.has_table(TableKind::kMemory);
    Result<Json> run = planned.baseline ? run_baseline(planned, place)
                       : planned.peer   ? run_qemu(planned, place)
                                        : run_transfer(planned, place);
    fs::remove_all(place.folder, failed);
    return run;
}

Result<unsigned> Runner::run(const Plan& plan) {
    unsigned failures = 0;
    for (unsigned turn = 0; turn < plan.warm_ups + plan.repeats; ++turn) {
        const bool warm_up = turn < plan.warm_ups;
        for (const PlannedVariant& planned : plan.variants) {
            if (!planned.skipped.empty()) continue;
            MIGRATE_ASSIGN(Json * scenario, results_.scenario(plan));
            if (has_run(*scenario, planned.name, turn)) {
                terminal_.skip_run();
                continue;
            }
            const std::string what = fmt::format(
                "{}: {}{}", plan.scenario.name, planned.label,
                warm_up ? ", warm-up" : fmt::format(", run {}", turn + 1 - plan.warm_ups));
            terminal_.begin_run(what);
            Result<Json> done = run_once(plan, planned);
            if (!done && done.error().kind() == ErrorKind::kCancelled)
                return std::move(done).error();
            Json run = {{"variant", planned.name}, {"turn", turn}, {"warm-up", warm_up}};
            if (done) {
                run.update(*done);
            } else {
                run["error"] = done.error().message();
                ++failures;
            }
            terminal_.end_run(fmt::format("{}: {}", what, outcome_of(run)));
            keep(*scenario, std::move(run));
            MIGRATE_TRY(results_.save());
        }
    }
    return failures;
}

}  // namespace migrate::bench
