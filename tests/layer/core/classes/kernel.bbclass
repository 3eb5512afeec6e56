# SPDX-License-Identifier: Apache-2.0 OR MIT
KERNEL_CLASSES ?= ""
inherit_defer ${KERNEL_CLASSES}
