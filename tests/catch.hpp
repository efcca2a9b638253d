// SPDX-License-Identifier: Apache-2.0
// Catch2 2.13 and 3.x behind one include, under the names of 2.13. 3.x calls Contains() of a text
// ContainsSubstring() and has another matcher of the old name, for ranges, whose header is
// therefore not included here.
#pragma once

#ifdef MIGRATE_CATCH2_V3
#include <catch2/catch_approx.hpp>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace Catch {
namespace Matchers {
inline StringContainsMatcher Contains(const std::string& text) { return ContainsSubstring(text); }
}  // namespace Matchers
using Matchers::Contains;
using Matchers::StartsWith;
}  // namespace Catch
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
