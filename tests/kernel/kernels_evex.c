/* kernels_evex.c - the kernels of AVX-VNNI with the EVEX form of vpdpbusd: the same arithmetic on
 * machines that have AVX-512 VNNI and not AVX-VNNI. Compiled with the flags of AVX-512. */
#define elm_cpu_kernels_avxvnni elm_cpu_kernels_evex
#include "backend/cpu/x86/kernels_avxvnni.c"
