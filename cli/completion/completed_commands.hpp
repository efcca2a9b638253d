// SPDX-License-Identifier: Apache-2.0
// The words that a completion script knows: what each command takes. Invariant: options, flags and
// scenarios come from their own tables; only the commands are listed here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace migrate::cli {

struct CompletedFlag {
    enum class Value {
        kNone,     // it takes no value
        kUnknown,  // nothing can be offered
        kWords,    // one of `words`
        kForms,    // a value that begins with one of `words`, as "anon:"
        kFile,
        kFolder,
    };

    std::string name;    // without "--"
    std::string letter;  // "h" for -h; empty if none
    std::string help;
    Value value = Value::kNone;
    std::string value_name;  // "HOST:PORT"
    std::vector<std::string> words{};
    bool may_be_path = false;  // kForms: a path may stand in place of a form
    bool repeats = false;      // may occur several times
};

struct CompletedCommand {
    std::string name;
    std::string help;
    std::vector<CompletedFlag> flags{};
    std::vector<std::string> words{};  // arguments that are no flags: topics, scenarios
};

// In the order of `migrate --help`.
std::vector<CompletedCommand> completed_commands();

}  // namespace migrate::cli
