// SPDX-License-Identifier: Apache-2.0
// A console whose text a test reads. One at a time.
#pragma once

#include <string>
#include <string_view>

#include "cli/console.hpp"

namespace migrate::cli::test {

class CapturedConsole {
  public:
    CapturedConsole() {
        out().clear();
        err().clear();
    }

    Console console(OutputFormat format) const {
        return {format,
                {.out = [](std::string_view text) { out() += text; },
                 .err = [](std::string_view text) { err() += text; }}};
    }
    static std::string& out() {
        static std::string text;
        return text;
    }
    static std::string& err() {
        static std::string text;
        return text;
    }
};

}  // namespace migrate::cli::test
