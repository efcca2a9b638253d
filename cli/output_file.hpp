// Files that a user asked for. Invariants: a reader sees a whole text under the file's name, that
// of this run or none, from the moment on that the file is opened; what was under the name before
// is never written to.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::cli {

class OutputFile {
  public:
    // Writes nowhere.
    OutputFile() = default;
    // Replaces the file at `path` by one that holds `first`, before the work begins, so that a path
    // that cannot be written is an error then. `what` names the option, for errors: "stats". An
    // empty path writes nowhere. kUsage if it cannot be written.
    static Result<OutputFile> open(std::string_view what, const std::string& path,
                                   std::string_view first);

    // Replaces the file by one that holds `text`. After an error it is as it was.
    Status write(std::string_view text) const;

  private:
    OutputFile(std::string name, std::string path)
        : name_(std::move(name)), path_(std::move(path)) {}

    std::string name_;
    std::string path_;
};

// Removes what an earlier run left at `path`; nothing there, or an empty path, is fine. kUsage if
// it cannot be removed, or is anything but a regular file of its own.
Status remove_old_file(std::string_view what, const std::string& path);

}  // namespace migrate::cli
