# SPDX-License-Identifier: MIT

require ftrace-analyzer-0.1.0.inc
require ftrace-analyzer-conf.inc
