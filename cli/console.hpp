// The program's messages. Invariant: with OutputFormat::kJson standard output holds only the last
// line, the JSON object; text for people then goes to standard error.
#pragma once

#include <string_view>

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

enum class OutputFormat { kText, kJson };
inline OutputFormat output_format(const Settings& settings) {
    return settings.get<"json">() ? OutputFormat::kJson : OutputFormat::kText;
}

class Console {
  public:
    using Writer = void (*)(std::string_view text);
    struct Writers {
        Writer out;
        Writer err;
    };

    explicit Console(OutputFormat format);
    Console(OutputFormat format, Writers writers) : format_(format), writers_(writers) {}

    // Prints text for people, in whole lines.
    void say(std::string_view lines) const;
    // Prints "migrate: MESSAGE" on standard error.
    void warn(std::string_view message) const;
    // Prints the error on standard error.
    void report(const Error& error) const;
    // Prints the JSON object on a line of its own; nothing with OutputFormat::kText. Once, at the
    // end.
    void last_line(std::string_view json) const;

  private:
    OutputFormat format_;
    Writers writers_;
};

// Prints the error on standard error, and returns the exit code for it.
int report_error(const Error& error);

}  // namespace migrate::cli
