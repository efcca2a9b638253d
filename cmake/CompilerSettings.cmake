# SPDX-License-Identifier: Apache-2.0
# Warnings, sanitizers and the one function that makes a library per folder.
option(MIGRATE_WERROR "Treat warnings as errors" OFF)
option(MIGRATE_FUZZ "Build the libFuzzer targets (needs clang and MIGRATE_SANITIZE=address,undefined)" OFF)
option(MIGRATE_PRECOMPILE "Precompile the headers that most sources include" ON)
set(MIGRATE_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined or thread")

# migrate_plain_settings is for what is loaded into other programs, and so may contain no sanitizer.
add_library(migrate_plain_settings INTERFACE)
target_compile_features(migrate_plain_settings INTERFACE cxx_std_20)
target_include_directories(migrate_plain_settings INTERFACE
    "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/src" "${PROJECT_BINARY_DIR}/generated")
target_compile_options(migrate_plain_settings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
    -Wold-style-cast -Wcast-align -Woverloaded-virtual
    $<$<BOOL:${MIGRATE_WERROR}>:-Werror>
    # GCC looks for garbage from 128 MiB on, which takes a tenth of the time of sources that need 500.
    $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=524288>
    # GCC 12 and 14 take the parts of a variant in a braced list for uninitialised where they inline its destructor,
    # and elements of a tuple of references for outside their bounds.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-array-bounds>
    # Checks the guards that base/mutex.hpp declares. GCC has no such check.
    $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Werror=thread-safety>
    # GCC 12 warns of correct code wherever it inlines "text" + std::string or assigns one character (GCC bugs
    # 105329 and 105651, mended in GCC 13).
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict -Wno-stringop-overflow>)
add_library(migrate_settings INTERFACE)
target_link_libraries(migrate_settings INTERFACE migrate_plain_settings)
if(MIGRATE_SANITIZE)
    target_compile_options(migrate_settings INTERFACE
        # GCC 12 warns of asio's fences, which ThreadSanitizer does not model.
        $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>
        -fsanitize=${MIGRATE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
        # AddressSanitizer sees what these would; without them the build takes a fifth less time.
        -fno-sanitize=null,vptr,object-size)
    target_link_options(migrate_settings INTERFACE -fsanitize=${MIGRATE_SANITIZE})
endif()

configure_file("${PROJECT_SOURCE_DIR}/cmake/version.hpp.in"
               "${PROJECT_BINARY_DIR}/generated/base/version.hpp" @ONLY)

# The headers that most sources include, of the standard library and of the project. ccache takes no file with a precompiled header, so that it gets none.
set(migrate_common_headers
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <filesystem> <functional> <memory> <mutex>
    <optional> <span> <string> <string_view> <thread> <variant> <vector> <fmt/format.h>
    ${PROJECT_SOURCE_DIR}/src/base/error.hpp ${PROJECT_SOURCE_DIR}/src/base/fd.hpp
    ${PROJECT_SOURCE_DIR}/src/base/mutex.hpp)
set(migrate_precompile OFF)
if(MIGRATE_PRECOMPILE AND NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
    set(migrate_precompile ON)
endif()

# What goes into libmigrate.so, too: it may lie at any address, and only the C API is visible from outside. Hidden
# functions are called and inlined as in a program, so this costs the program nothing.
function(migrate_position_independent target)
    set_target_properties(${target} PROPERTIES
        POSITION_INDEPENDENT_CODE ON
        CXX_VISIBILITY_PRESET hidden
        VISIBILITY_INLINES_HIDDEN ON)
endfunction()

# migrate_library(NAME sources...) makes migrate_NAME with the project's settings.
function(migrate_library name)
    add_library(migrate_${name} STATIC ${ARGN})
    migrate_position_independent(migrate_${name})
    target_link_libraries(migrate_${name} PUBLIC migrate_settings)
    if(TARGET migrate_headers)
        target_precompile_headers(migrate_${name} REUSE_FROM migrate_headers)
    endif()
endfunction()
