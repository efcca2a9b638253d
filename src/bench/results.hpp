// SPDX-License-Identifier: Apache-2.0
// results.json: everything that was measured, raw, with the machine and the scenarios as they were.
// Invariant: the file is complete JSON at any moment, whenever the bench is killed; tables and
// charts are made of it alone.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"

namespace migrate::bench {

class Results {
  public:
    // Starts new results, which save() writes to `path`.
    static Results begin(std::filesystem::path path, const Mode& mode);
    // Reads the results of an interrupted run, to go on with it. kUsage where the file is missing
    // or holds something else, or was made in another mode or by another commit.
    static Result<Results> resume(std::filesystem::path path, const Mode& mode);

    // The scenario's entry, made of the plan where there is none; kUsage where there is one and the
    // scenario has changed since. Valid until the next call.
    Result<Json*> scenario(const Plan& plan);

    const Json& json() const { return json_; }
    // Writes the file at once, so that a reader sees all of it or the old one.
    Status save() const;

  private:
    Results(std::filesystem::path path, Json json)
        : path_(std::move(path)), json_(std::move(json)) {}

    std::filesystem::path path_;
    Json json_;
};

// True if that run is there and succeeded.
bool has_run(const Json& scenario, std::string_view variant, unsigned turn);

// Replaces a file's content at once: a reader sees the old or the new content.
Status write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace migrate::bench
