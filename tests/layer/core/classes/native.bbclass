# SPDX-License-Identifier: Apache-2.0 OR MIT
OVERRIDES = "x86_64:pn-${PN}:class-native:forcevariable"
