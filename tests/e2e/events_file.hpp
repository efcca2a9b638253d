// SPDX-License-Identifier: Apache-2.0
// The events of a process under test, in a file, which can be waited for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::e2e {

class EventsFile {
  public:
    EventsFile();

    const std::string& path() const { return path_; }
    // Until the file contains the text; false at kDeadline. Waits for the kernel's word that the
    // file has changed.
    bool await(std::string_view text) const;

  private:
    TemporaryFolder folder_;
    std::string path_;
    UniqueFd changes_;  // an inotify of the folder
};

}  // namespace migrate::e2e
