// SPDX-License-Identifier: Apache-2.0
// Output files that the user names. Invariants: from the moment the file is opened, a reader finds
// under its name either a complete text of this run or no file; the file that had the name before
// is never written to. If the file cannot be written, an older one is removed where that is
// possible, so that it is not taken for a result of this run.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::cli {

class OutputFile {
  public:
    // Writes nothing.
    OutputFile() = default;
    // A file at `path` that was not written yet.
    static OutputFile unopened(std::string_view what, const std::string& path);
    // Replaces the file at `path` by one that holds `first`, before the work begins, so that a path
    // that cannot be written is an Error then. `what` names the option in errors: "stats". With an
    // empty path nothing is written. kUsage if the file cannot be written; an older one is then
    // removed if it is a regular file of its own.
    static Result<OutputFile> open(std::string_view what, const std::string& path,
                                   std::string_view first);

    // False if nothing is written.
    bool is_named() const { return !path_.empty(); }
    // Replaces the file by one that holds `text`. After an Error it is unchanged.
    Status write(std::string_view text) const;

  private:
    OutputFile(std::string name, std::string path)
        : name_(std::move(name)), path_(std::move(path)) {}

    std::string name_;
    std::string path_;
};

// Removes the file of an earlier run at `path`; a missing file or an empty path is fine. kUsage if
// it cannot be removed, or is not a regular file of its own.
Status remove_old_file(std::string_view what, const std::string& path);

}  // namespace migrate::cli
