# SPDX-License-Identifier: MIT
# Without the feature the recipe is what it was, to the last signature.
require ${@bb.utils.contains('DISTRO_FEATURES', 'ftrace-analyzer', 'ftrace-analyzer-containerd.inc', '', d)}
