# SPDX-License-Identifier: Apache-2.0 OR MIT
SUMMARY = "Stands in for a kernel"
SRC_URI = "git://example.org/linux.git;protocol=https;branch=main"
SRCREV = "0123456789012345678901234567890123456789"
inherit kernel kernel-yocto
