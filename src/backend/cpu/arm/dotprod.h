/* dotprod.h - what the i8mm kernels leave to those of the dot product: single tokens. Layer:
 * backend/cpu. */
#ifndef ELM_BACKEND_CPU_DOTPROD_H
#define ELM_BACKEND_CPU_DOTPROD_H

#include "backend/cpu/kernels.h"

void elm_cpu_linear_i4_dotprod(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch);
void elm_cpu_linear_i8_dotprod(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch);

#endif
