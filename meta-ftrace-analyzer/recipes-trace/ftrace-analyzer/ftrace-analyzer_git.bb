# SPDX-License-Identifier: MIT

require ftrace-analyzer-git.inc
require ftrace-analyzer.inc
