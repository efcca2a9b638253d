// Drawings by gnuplot, which is a program of its own (Debian: gnuplot-nox).
#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace migrate::bench {

// Why nothing can be drawn here, or "".
std::string gnuplot_missing();

// Runs `script` behind a head that sets the SVG terminal, and returns the drawing, ready to stand
// in an HTML page: its text and axes have the page's colour, its ids begin with `id`. `folder`
// takes the files meanwhile.
Result<std::string> draw_svg(const std::string& script, const std::string& id, int width,
                             int height, const std::filesystem::path& folder, int stop_fd);

}  // namespace migrate::bench
