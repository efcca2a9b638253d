// The completion script for bash, generated from the option table.
#pragma once

#include <string>

namespace migrate::cli {

// To be installed as share/bash-completion/completions/migrate. Needs only bash itself.
std::string bash_completion();

}  // namespace migrate::cli
