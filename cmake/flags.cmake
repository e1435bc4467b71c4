# Warnings, hardening and numeric rules for everything of ours. No -march: kernels dispatch at run time.
add_library(elm_flags INTERFACE)
target_include_directories(elm_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(elm_flags INTERFACE _GNU_SOURCE EDGE_LLM_VERSION="${PROJECT_VERSION}")
target_compile_options(elm_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
  # One formula for vector body and tail: the compiler must not fuse or reassociate on its own.
  -ffp-contract=off -fno-math-errno -fno-strict-aliasing
  -fstack-protector-strong -fno-common)
if(EDGE_LLM_WERROR)
  target_compile_options(elm_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT EDGE_LLM_SANITIZE)
  target_compile_options(elm_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
target_link_options(elm_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,-z,max-page-size=16384)
if(EDGE_LLM_SANITIZE)
  target_compile_options(elm_flags INTERFACE -fsanitize=${EDGE_LLM_SANITIZE} -fno-omit-frame-pointer -g
    -fno-sanitize-recover=all)
  target_link_options(elm_flags INTERFACE -fsanitize=${EDGE_LLM_SANITIZE})
endif()

if(EDGE_LLM_FUZZ)
  # The library counts its branches too, or the fuzzer would be blind in it.
  target_compile_options(elm_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(elm_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Stricter for the product's own sources than for tests.
set(ELM_SRC_WARNINGS -Wconversion -Wsign-conversion)
