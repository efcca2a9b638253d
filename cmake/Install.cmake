# SPDX-License-Identifier: Apache-2.0
# The files of `cmake --install` and their places. The program itself writes the man page and the completions from its
# option table; they are left out where the program that was built cannot run here.
include(GNUInstallDirs)

install(TARGETS migrate RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
# The script looks for the library beside its own folder, in lib/migrate whatever the system calls its lib.
install(PROGRAMS "${PROJECT_SOURCE_DIR}/scripts/with-softdsa" DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/docs/with-softdsa.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(TARGETS softdsa_preload LIBRARY DESTINATION lib/migrate)

# libmigrate for other VMMs: the library, its header, its CMake package and its pkg-config file.
include(CMakePackageConfigHelpers)
install(TARGETS migrate_shared EXPORT migrateTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/src/lib/migrate/migrate.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/migrate")
set(migrate_package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/migrate")
install(EXPORT migrateTargets NAMESPACE migrate:: DESTINATION "${migrate_package_folder}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/migrateConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/generated/migrateConfig.cmake" INSTALL_DESTINATION "${migrate_package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/generated/migrateConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/generated/migrateConfig.cmake"
              "${PROJECT_BINARY_DIR}/generated/migrateConfigVersion.cmake"
        DESTINATION "${migrate_package_folder}")
file(RELATIVE_PATH MIGRATE_PC_TO_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
configure_file("${PROJECT_SOURCE_DIR}/cmake/migrate.pc.in" "${PROJECT_BINARY_DIR}/generated/migrate.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/generated/migrate.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/README.md" "${PROJECT_SOURCE_DIR}/CHANGELOG.md"
        "${PROJECT_SOURCE_DIR}/transport/PROTOCOL.md" DESTINATION "${CMAKE_INSTALL_DOCDIR}" OPTIONAL)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs/" DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING
        PATTERN "*.md" PATTERN "*.png")
# systemd looks for units in lib, whatever the system calls its lib.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/configs/systemd/" DESTINATION lib/systemd/system)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/configs/" DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples"
        FILES_MATCHING PATTERN "*.json")
# Where Ansible looks for collections if the prefix is /usr.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/contrib/ansible/"
        DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/ansible/collections/ansible_collections/migrate/hosts"
        PATTERN "__pycache__" EXCLUDE)

if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
    message(STATUS "Cross-compiling: the man page and the completions are not made")
    return()
endif()

# migrate_generated(FILE FOLDER ARGUMENT...): what the program prints when run with the arguments, installed as FILE.
function(migrate_generated file folder)
    set(output "${PROJECT_BINARY_DIR}/generated/${folder}/${file}")
    file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/generated/${folder}")
    # Under another name first: what fails in the middle is not taken for done.
    add_custom_command(OUTPUT "${output}"
        COMMAND migrate ${ARGN} > "${output}.partial"
        COMMAND "${CMAKE_COMMAND}" -E rename "${output}.partial" "${output}"
        DEPENDS migrate
        VERBATIM)
    set_property(GLOBAL APPEND PROPERTY MIGRATE_GENERATED "${output}")
    install(FILES "${output}" DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/${folder}")
endfunction()

migrate_generated(migrate.1 man/man1 man)
foreach(schema config statistics events scenario)
    migrate_generated(${schema}.schema.json migrate schema ${schema})
endforeach()
migrate_generated(migrate bash-completion/completions completion bash)
migrate_generated(_migrate zsh/site-functions completion zsh)
migrate_generated(migrate.fish fish/vendor_completions.d completion fish)
get_property(migrate_generated_files GLOBAL PROPERTY MIGRATE_GENERATED)
add_custom_target(generated_files ALL DEPENDS ${migrate_generated_files})
