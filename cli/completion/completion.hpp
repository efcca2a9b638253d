// SPDX-License-Identifier: Apache-2.0
// The completion scripts for shells, generated from the tables of options, commands and scenarios.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace migrate::cli {

// To be installed as share/bash-completion/completions/migrate. Needs only bash itself.
std::string bash_completion();
// To be installed as share/zsh/site-functions/_migrate.
std::string zsh_completion();
// To be installed as share/fish/vendor_completions.d/migrate.fish.
std::string fish_completion();

struct Shell {
    std::string_view name;
    std::string (*text)();  // its script
};
inline constexpr std::array kShells{Shell{"bash", bash_completion}, Shell{"zsh", zsh_completion},
                                    Shell{"fish", fish_completion}};

}  // namespace migrate::cli
