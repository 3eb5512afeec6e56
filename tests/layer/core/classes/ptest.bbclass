# SPDX-License-Identifier: Apache-2.0 OR MIT
PTEST_PATH ?= "${libdir}/${BPN}/ptest"
PACKAGES =+ "${@bb.utils.contains('DISTRO_FEATURES', 'ptest', '${PN}-ptest', '', d)}"
FILES:${PN}-ptest += "${PTEST_PATH}"
RDEPENDS:${PN}-ptest += "${PN}"
do_compile_ptest() {
    :
}
do_install_ptest() {
    :
}
