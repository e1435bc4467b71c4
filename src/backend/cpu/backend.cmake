# The kernels of an instruction set lie in a folder of their architecture; each file is compiled with its own flags and
# chosen at run time.
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" ELM_CPU_PROCESSOR)
if(ELM_CPU_PROCESSOR MATCHES "^(x86_64|amd64)$")
  list(APPEND ELM_BACKEND_FOLDERS backend/cpu/x86)
  set(ELM_CPU_AVX2_FLAGS -mavx2 -mfma -mf16c)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cpu/x86/kernels_avx2.c
    PROPERTIES COMPILE_OPTIONS "${ELM_CPU_AVX2_FLAGS}")
  set(ELM_CPU_AVX512_FLAGS ${ELM_CPU_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cpu/x86/kernels_avxvnni.c
    PROPERTIES COMPILE_OPTIONS "${ELM_CPU_AVX2_FLAGS};-mavxvnni")
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cpu/x86/kernels_avx512.c
    PROPERTIES COMPILE_OPTIONS "${ELM_CPU_AVX512_FLAGS}")
elseif(ELM_CPU_PROCESSOR MATCHES "^(aarch64|arm64)$")
  list(APPEND ELM_BACKEND_FOLDERS backend/cpu/arm)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cpu/arm/kernels_dotprod.c
    PROPERTIES COMPILE_OPTIONS "-march=armv8.2-a+dotprod")
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/cpu/arm/kernels_i8mm.c
    PROPERTIES COMPILE_OPTIONS "-march=armv8.2-a+dotprod+i8mm")
endif()
