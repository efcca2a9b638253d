// SPDX-License-Identifier: Apache-2.0
// Messages for the operator, on standard error, with levels. Only log.cpp uses spdlog. Invariant:
// logging never throws.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "base/enum_names.hpp"

namespace migrate::log {

enum class Level { kDebug, kInfo, kWarning, kError };
constexpr auto enum_names(Level) {
    return names_of_enum<Level>({{Level::kDebug, "debug"},
                                 {Level::kInfo, "info"},
                                 {Level::kWarning, "warning"},
                                 {Level::kError, "error"}});
}

void set_level(Level level);
// Takes each message in place of standard error. Any thread calls it; it neither waits nor throws.
using Writer = void (*)(Level level, std::string_view message);
// Null: messages go to standard error, as at the start. Any thread may call it.
void set_writer(Writer writer);
bool enabled(Level level);
void write(Level level, std::string_view message);

// Formats and writes. A message that finds no memory is dropped, since the work that many messages
// report on has to continue.
template <typename... Args>
void write_formatted(Level level, fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (!enabled(level)) return;
    try {
        write(level, fmt::format(format, std::forward<Args>(args)...));
    } catch (...) {
        return;
    }
}

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) noexcept {
    write_formatted<Args...>(Level::kDebug, format, std::forward<Args>(args)...);
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) noexcept {
    write_formatted<Args...>(Level::kInfo, format, std::forward<Args>(args)...);
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) noexcept {
    write_formatted<Args...>(Level::kWarning, format, std::forward<Args>(args)...);
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) noexcept {
    write_formatted<Args...>(Level::kError, format, std::forward<Args>(args)...);
}

}  // namespace migrate::log
