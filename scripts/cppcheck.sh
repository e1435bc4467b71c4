#!/usr/bin/env bash
# cppcheck over src; silent when clean. A suppression says why.
#   missingInclude*            the C library's headers are not given to it
#   normalCheckLevelMaxBranches, unmatchedSuppression   remarks about itself
set -euo pipefail
cd "$(dirname "$0")/.."
cppcheck --quiet --std=c11 --enable=warning,portability --error-exitcode=1 --inline-suppr -j "$(nproc)" \
    -I src -I include --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unmatchedSuppression src
