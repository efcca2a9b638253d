// SPDX-License-Identifier: Apache-2.0
// Drawings by the program gnuplot (Debian: gnuplot-nox).
#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace migrate::bench {

// Empty, or why nothing can be drawn here.
std::string gnuplot_missing();

// Draws `script` as SVG for an HTML page: text and axes take the page's colour, and its ids begin
// with `id`. `folder` holds the files of this run of gnuplot.
Result<std::string> draw_svg(const std::string& script, const std::string& id, int width,
                             int height, const std::filesystem::path& folder, int stop_fd);

}  // namespace migrate::bench
