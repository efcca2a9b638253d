# SPDX-License-Identifier: Apache-2.0
# Every dependency comes from Debian 12 or later; a missing one stops the configuration with its package's name.
find_package(Threads REQUIRED)

function(migrate_missing what package)
    message(FATAL_ERROR "${what} was not found. Install it with: apt-get install ${package} "
                        "(or run scripts/install-dependencies, which installs all of them)")
endfunction()

# migrate_c_library(TARGET HEADER LIBRARY PACKAGE): an imported target for a library, without its CMake package.
function(migrate_c_library target header library package)
    find_path(${target}_INCLUDE_DIR ${header})
    find_library(${target}_LIBRARY ${library})
    if(NOT ${target}_INCLUDE_DIR OR NOT ${target}_LIBRARY)
        migrate_missing("${library} (${header})" ${package})
    endif()
    add_library(migrate::${target} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(migrate::${target} PROPERTIES
        IMPORTED_LOCATION "${${target}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${${target}_INCLUDE_DIR}")
endfunction()

migrate_c_library(lz4 lz4.h lz4 liblz4-dev)
migrate_c_library(zstd zstd.h zstd libzstd-dev)
migrate_c_library(xxhash xxhash.h xxhash libxxhash-dev)
migrate_c_library(seccomp seccomp.h seccomp libseccomp-dev)
migrate_c_library(accel_config accel-config/libaccel_config.h accel-config libaccel-config-dev)
# The package's own CMake files would also need those of its push gateway and of its HTTP server.
migrate_c_library(prometheus_core prometheus/metric_family.h prometheus-cpp-core prometheus-cpp-dev)
migrate_c_library(prometheus_pull prometheus/exposer.h prometheus-cpp-pull prometheus-cpp-dev)

# libaccel-config's header includes it, and its package does not depend on it.
find_path(UUID_INCLUDE_DIR uuid/uuid.h)
if(NOT UUID_INCLUDE_DIR)
    migrate_missing("uuid/uuid.h" uuid-dev)
endif()

find_package(Boost 1.74 CONFIG QUIET COMPONENTS program_options)
if(NOT Boost_FOUND)
    migrate_missing("Boost.Program_options 1.74" libboost-program-options-dev)
endif()
find_package(nlohmann_json 3.11 QUIET)
if(NOT nlohmann_json_FOUND)
    migrate_missing("nlohmann-json 3.11" nlohmann-json3-dev)
endif()
find_package(OpenSSL 3.0 QUIET COMPONENTS SSL Crypto)
if(NOT OPENSSL_FOUND)
    migrate_missing("OpenSSL 3" libssl-dev)
endif()
find_package(fmt 9 QUIET)
if(NOT fmt_FOUND)
    migrate_missing("fmt 9" libfmt-dev)
endif()
find_package(spdlog 1.10 QUIET)
if(NOT spdlog_FOUND)
    migrate_missing("spdlog 1.10" libspdlog-dev)
endif()

find_path(ASIO_INCLUDE_DIR asio.hpp)
if(NOT ASIO_INCLUDE_DIR)
    migrate_missing("standalone asio (asio.hpp)" libasio-dev)
endif()
add_library(migrate_asio INTERFACE)
target_include_directories(migrate_asio SYSTEM INTERFACE "${ASIO_INCLUDE_DIR}")
target_compile_definitions(migrate_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
target_link_libraries(migrate_asio INTERFACE Threads::Threads)
add_library(migrate::asio ALIAS migrate_asio)

# Catch2 2.13 (Debian 12) and 3.x name their header and library differently; tests/catch.hpp hides it.
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
    find_package(Catch2 QUIET)
    if(NOT Catch2_FOUND)
        migrate_missing("Catch2 2.13 or 3.x" catch2)
    endif()
endif()

# The headers that most sources of the libraries include, compiled once. JSON is what takes a compiler the longest.
if(migrate_precompile)
    add_library(migrate_headers OBJECT "${PROJECT_SOURCE_DIR}/cmake/headers.cpp")
    migrate_position_independent(migrate_headers)
    target_link_libraries(migrate_headers PRIVATE migrate_settings fmt::fmt nlohmann_json::nlohmann_json)
    target_precompile_headers(migrate_headers PRIVATE ${migrate_common_headers} <nlohmann/json.hpp>)
endif()
