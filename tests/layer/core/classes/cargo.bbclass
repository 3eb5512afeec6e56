# SPDX-License-Identifier: Apache-2.0 OR MIT
CARGO = "cargo"
RUST_HOST_SYS = "aarch64-oe-linux-gnu"
CARGO_TARGET_SUBDIR = "${RUST_HOST_SYS}/release"
CARGO_BUILD_FLAGS = "--frozen --target ${RUST_HOST_SYS} --release --manifest-path=${S}/Cargo.toml"
RUSTFLAGS ??= ""
oe_cargo_fix_env() {
    :
}
