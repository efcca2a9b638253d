// SPDX-License-Identifier: Apache-2.0
// The program's messages. Invariants: errors are always printed; with OutputFormat::kJson standard
// output holds only the last line, the JSON object; text for people then goes to standard error.
#pragma once

#include <string_view>

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

enum class OutputFormat { kText, kJson };
inline OutputFormat output_format(const Settings& settings) {
    return settings.get<"json">() ? OutputFormat::kJson : OutputFormat::kText;
}
enum class Loudness { kQuiet, kNormal };
inline Loudness loudness(const Settings& settings) {
    return settings.get<"quiet">() ? Loudness::kQuiet : Loudness::kNormal;
}

class Console {
  public:
    using Writer = void (*)(std::string_view text);
    struct Writers {
        Writer out;
        Writer err;
    };

    explicit Console(OutputFormat format, Loudness loudness = Loudness::kNormal);
    Console(OutputFormat format, Writers writers, Loudness loudness = Loudness::kNormal)
        : format_(format), loudness_(loudness), writers_(writers) {}

    // Prints text for people, in whole lines; nothing with Loudness::kQuiet.
    void say(std::string_view lines) const;
    // Prints "migrate: ADVICE" on standard error: what to do after an error. Nothing with
    // Loudness::kQuiet.
    void advise(std::string_view advice) const;
    // Prints "migrate: MESSAGE" on standard error.
    void warn(std::string_view message) const;
    // Prints the error on standard error.
    void report(const Error& error) const;
    // Prints the JSON object on a line of its own; nothing with OutputFormat::kText. Once, at the
    // end.
    void last_line(std::string_view json) const;

  private:
    OutputFormat format_;
    Loudness loudness_;
    Writers writers_;
};

// Prints the error on standard error, and returns the exit code for it.
int report_error(const Error& error);

}  // namespace migrate::cli
