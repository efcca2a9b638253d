# SPDX-License-Identifier: Apache-2.0
# Run by a build when a scenario changes: writes FOLDER's scenarios as one C++ source, OUTPUT.
file(GLOB paths "${FOLDER}/*.json")
list(SORT paths)
set(rows "")
foreach(path IN LISTS paths)
    get_filename_component(name "${path}" NAME_WE)
    file(READ "${path}" text)
    string(FIND "${text}" ")scenario\"" clash)
    if(NOT clash EQUAL -1)
        message(FATAL_ERROR "${path} contains the text that ends a scenario in the generated source: )scenario\"")
    endif()
    string(APPEND rows "    {\"${name}\", R\"scenario(${text})scenario\"},\n")
endforeach()
if(rows STREQUAL "")
    message(FATAL_ERROR "${FOLDER} has no scenarios")
endif()
file(WRITE "${OUTPUT}" "// Written by cmake/Scenarios.cmake from configs/scenarios; changes here are lost.
#include \"bench/builtin_scenarios.hpp\"

#include <array>

namespace migrate::bench {
namespace {

constexpr auto kBuiltinScenarios = std::to_array<BuiltinScenario>({
${rows}});

}  // namespace

std::span<const BuiltinScenario> builtin_scenarios() { return kBuiltinScenarios; }

}  // namespace migrate::bench
")
