# SPDX-License-Identifier: MIT

SUMMARY = "A minimal image that traces a container when it starts for the first time"
DESCRIPTION = "core-image-minimal with runc, ftrace-analyzer and its demonstration: ftrace-analyzer report demo shows it."
HOMEPAGE = "https://example.org/ftrace-analyzer"
BUGTRACKER = "https://example.org/ftrace-analyzer/issues"
SECTION = "images"
LICENSE = "MIT"

CVE_PRODUCT = ""

inherit core-image features_check

REQUIRED_DISTRO_FEATURES = "ftrace-analyzer virtualization"

# What core-image-minimal has, the runtime by the name that runc has in both series, and ours.
IMAGE_INSTALL = "\
    packagegroup-core-boot \
    ${CORE_IMAGE_EXTRA_INSTALL} \
    virtual-runc \
    packagegroup-ftrace-analyzer \
    ftrace-analyzer-demo \
"
IMAGE_LINGUAS = ""
