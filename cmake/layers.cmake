# SPDX-License-Identifier: MIT
# One static library per folder of src/, so that a folder's tests link only what it may use.
# tk_layer(NAME deps...): every src/NAME/*.c.
function(tk_layer name)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.c
    ${PROJECT_SOURCE_DIR}/src/${name}/*/*.c)
  if(sources)
    add_library(tk_${name} STATIC ${sources})
    target_include_directories(tk_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(tk_${name} PUBLIC ${ARGN})
  else()
    add_library(tk_${name} INTERFACE)
    target_include_directories(tk_${name} INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(tk_${name} INTERFACE ${ARGN})
  endif()
endfunction()

tk_layer(base PkgConfig::JANSSON PkgConfig::XXHASH Threads::Threads m)
tk_layer(num tk_base)
tk_layer(hw tk_base PkgConfig::HWLOC)
tk_layer(store tk_num tk_base PkgConfig::CURL PkgConfig::CRYPTO)
tk_layer(text tk_base PkgConfig::PCRE2 PkgConfig::UTF8PROC)
tk_layer(kv tk_base PkgConfig::ZSTD)
tk_layer(kernels tk_num tk_hw tk_base)
# One folder, one flag set: nothing outside it may use these instructions.
file(GLOB avx2_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/avx2/*.c)
set_source_files_properties(${avx2_sources} PROPERTIES COMPILE_OPTIONS "-O3;-mavx2;-mfma;-mf16c;-mbmi2")
file(GLOB avx512_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/avx512/*.c)
set(avx512_flags "-O3;-mavx2;-mfma;-mf16c;-mbmi2;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mavx512vbmi;-mprefer-vector-width=512")
set_source_files_properties(${avx512_sources} PROPERTIES COMPILE_OPTIONS "${avx512_flags}")
file(GLOB bf16_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/avx512/*_bf16.c)
set_source_files_properties(${bf16_sources} PROPERTIES COMPILE_OPTIONS "${avx512_flags};-mavx512bf16")
file(GLOB amx_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/amx/*.c)
set_source_files_properties(${amx_sources} PROPERTIES COMPILE_OPTIONS "${avx512_flags};-mavx512bf16;-mamx-tile;-mamx-bf16;-mamx-int8")
tk_layer(model tk_store tk_num tk_base)
tk_layer(sample tk_kernels tk_num tk_base)
tk_layer(exec tk_kv tk_kernels tk_model tk_store tk_hw tk_num tk_base)
# where `demo` is: the source tree, else the installed copy
include(GNUInstallDirs)
set(tk_demo_definitions "TK_DEMO_DIR=\"${PROJECT_SOURCE_DIR}/models/demo\""
  "TK_DEMO_INSTALLED=\"${CMAKE_INSTALL_FULL_DATADIR}/tokamak/models/demo\""
  "TK_CONFIGS_DIR=\"${PROJECT_SOURCE_DIR}/models/configs\""
  "TK_CONFIGS_INSTALLED=\"${CMAKE_INSTALL_FULL_DATADIR}/tokamak/models/configs\"")
# never runs a model: prices the program that exec runs
tk_layer(plan tk_model tk_store tk_hw tk_num tk_base)
tk_layer(engine tk_exec tk_sample tk_text tk_kv tk_model tk_store)
tk_layer(bench tk_engine PkgConfig::CURL)
tk_layer(server tk_engine tk_text tk_hw PkgConfig::EVENT)
# the page at "/", one document in the program
set(page_c ${PROJECT_BINARY_DIR}/server_page.c)
file(GLOB page_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/server/page/*)
add_custom_command(OUTPUT ${page_c} DEPENDS ${page_sources} ${PROJECT_SOURCE_DIR}/cmake/page.cmake
  COMMAND ${CMAKE_COMMAND} -D SOURCE=${PROJECT_SOURCE_DIR}/src/server/page -D OUT=${page_c}
    -P ${PROJECT_SOURCE_DIR}/cmake/page.cmake VERBATIM)
target_sources(tk_server PRIVATE ${page_c})

execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-parse --short HEAD
  OUTPUT_VARIABLE tk_commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT tk_commit)
  set(tk_commit unknown)
endif()
execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-list --count HEAD
  OUTPUT_VARIABLE tk_commit_count OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT tk_commit_count)
  set(tk_commit_count 0)
endif()
file(GLOB cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c)
add_executable(tokamak ${cli_sources})
target_link_libraries(tokamak PRIVATE tk_server tk_bench tk_engine tk_plan PkgConfig::EDIT)
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/cli/cmd_version.c ${PROJECT_SOURCE_DIR}/src/cli/cmd_serve.c PROPERTIES COMPILE_DEFINITIONS
  "TK_VERSION=\"${PROJECT_VERSION}\";TK_COMMIT=\"${tk_commit}\";TK_COMMIT_COUNT=${tk_commit_count}")
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/engine/locate.c PROPERTIES
  COMPILE_DEFINITIONS "${tk_demo_definitions}" TARGET_DIRECTORY tk_engine)
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/plan/catalog.c PROPERTIES COMPILE_DEFINITIONS
  "TK_DATA_DIR=\"${PROJECT_SOURCE_DIR}/data\";TK_DATA_INSTALLED=\"${CMAKE_INSTALL_FULL_DATADIR}/tokamak/data\""
  TARGET_DIRECTORY tk_plan)
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/engine/api.c PROPERTIES
  COMPILE_DEFINITIONS "TK_VERSION=\"${PROJECT_VERSION}\"")
