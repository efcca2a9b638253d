// SPDX-License-Identifier: Apache-2.0
// The pages and tables in GitHub's Markdown that the program writes from its own tables, so that a
// document cannot differ from the program. tests/structure compares them with the files.
#pragma once

#include <string>

namespace migrate::cli {

// docs/options.md: every option with its default, range, unit and meaning, grouped as in the help.
std::string options_page();
// The table of exit codes in README.md.
std::string exit_codes_markdown();

}  // namespace migrate::cli
