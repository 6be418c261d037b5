# SPDX-License-Identifier: MIT
# The program, the library libtokamak.so with its header and pkg-config file, the demo model, the man page.
include(GNUInstallDirs)
add_library(tokamak_shared SHARED ${PROJECT_SOURCE_DIR}/src/engine/api.c)
set_target_properties(tokamak_shared PROPERTIES OUTPUT_NAME tokamak VERSION ${PROJECT_VERSION} SOVERSION 0
  LINK_OPTIONS "-Wl,--exclude-libs,ALL") # only the API's names leave the library
target_link_libraries(tokamak_shared PRIVATE tk_engine)

configure_file(${PROJECT_SOURCE_DIR}/cmake/tokamak.pc.in ${PROJECT_BINARY_DIR}/tokamak.pc @ONLY)
add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/tokamak.1 DEPENDS tokamak
  COMMAND $<TARGET_FILE:tokamak> help --man > ${PROJECT_BINARY_DIR}/tokamak.1)
add_custom_target(man ALL DEPENDS ${PROJECT_BINARY_DIR}/tokamak.1)

install(TARGETS tokamak tokamak_shared)
install(FILES ${PROJECT_SOURCE_DIR}/include/tokamak.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_BINARY_DIR}/tokamak.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_BINARY_DIR}/tokamak.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/demo DESTINATION ${CMAKE_INSTALL_DATADIR}/tokamak/models
  PATTERN train EXCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/configs DESTINATION ${CMAKE_INSTALL_DATADIR}/tokamak/models)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data DESTINATION ${CMAKE_INSTALL_DATADIR}/tokamak)
