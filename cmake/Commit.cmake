# SPDX-License-Identifier: Apache-2.0
# Run by every build: writes generated/base/commit.hpp, which changes only when the commit does.
set(MIGRATE_COMMIT "unknown")
execute_process(COMMAND git rev-parse --short=12 HEAD WORKING_DIRECTORY "${SOURCE_DIR}"
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed EQUAL 0)
    execute_process(COMMAND git status --porcelain --untracked-files=no WORKING_DIRECTORY "${SOURCE_DIR}"
        OUTPUT_VARIABLE changes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    set(MIGRATE_COMMIT "${commit}")
    if(changes)
        string(APPEND MIGRATE_COMMIT "+")
    endif()
endif()
configure_file("${SOURCE_DIR}/cmake/commit.hpp.in" "${OUTPUT}" @ONLY)
