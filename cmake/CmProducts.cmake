# What is installed: libcm (one header), cmc, and the files by which others find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# All layers in one shared library that exports the names of cm.h and nothing else.
file(WRITE ${CMAKE_BINARY_DIR}/cm_library.c "typedef int cm_library;\n")
add_library(cm SHARED ${CMAKE_BINARY_DIR}/cm_library.c)
set(exports ${CMAKE_SOURCE_DIR}/cmake/cm.map)
target_link_libraries(cm PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,cm_runtime>)
target_link_options(cm PRIVATE -Wl,--version-script=${exports} -Wl,--no-undefined)
set_target_properties(cm PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${exports})
target_include_directories(cm INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(cm::cm ALIAS cm)

# The command line uses nothing but cm.h, and jansson for its reports.
file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cli/*.c)
add_executable(cmc ${cli_sources})
target_include_directories(cmc PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(cmc PRIVATE cm PkgConfig::JANSSON m)
set_target_properties(cmc PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

# An embedding in under a hundred lines, built as any other project would.
add_subdirectory(${CMAKE_SOURCE_DIR}/examples/embed)

install(TARGETS cm EXPORT cm-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS cmc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${CMAKE_SOURCE_DIR}/include/cm.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT cm-targets NAMESPACE cm:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cm FILE cm-config.cmake)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/cm-config-version.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH CM_PREFIX_FROM_PKGCONFIG /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # so that the copy may be moved
configure_file(${CMAKE_SOURCE_DIR}/cmake/cm.pc.in ${CMAKE_BINARY_DIR}/cm.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cm-config-version.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cm)
install(FILES ${CMAKE_BINARY_DIR}/cm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
