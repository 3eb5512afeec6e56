// SPDX-License-Identifier: Apache-2.0 OR MIT
// Calls that not every machine has, or not every C library knows: many_calls.c leaves those out that are negative.
#ifndef SYS_accept
#define SYS_accept -1
#endif
#ifndef SYS_access
#define SYS_access -1
#endif
#ifndef SYS_alarm
#define SYS_alarm -1
#endif
#ifndef SYS_arch_prctl
#define SYS_arch_prctl -1
#endif
#ifndef SYS_chmod
#define SYS_chmod -1
#endif
#ifndef SYS_chown
#define SYS_chown -1
#endif
#ifndef SYS_clone3
#define SYS_clone3 -1
#endif
#ifndef SYS_close_range
#define SYS_close_range -1
#endif
#ifndef SYS_creat
#define SYS_creat -1
#endif
#ifndef SYS_epoll_create
#define SYS_epoll_create -1
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 -1
#endif
#ifndef SYS_epoll_wait
#define SYS_epoll_wait -1
#endif
#ifndef SYS_eventfd
#define SYS_eventfd -1
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 -1
#endif
#ifndef SYS_fsconfig
#define SYS_fsconfig -1
#endif
#ifndef SYS_fsmount
#define SYS_fsmount -1
#endif
#ifndef SYS_fsopen
#define SYS_fsopen -1
#endif
#ifndef SYS_fspick
#define SYS_fspick -1
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv -1
#endif
#ifndef SYS_futimesat
#define SYS_futimesat -1
#endif
#ifndef SYS_getdents
#define SYS_getdents -1
#endif
#ifndef SYS_getpgrp
#define SYS_getpgrp -1
#endif
#ifndef SYS_getrlimit
#define SYS_getrlimit -1
#endif
#ifndef SYS_inotify_init
#define SYS_inotify_init -1
#endif
#ifndef SYS_io_uring_enter
#define SYS_io_uring_enter -1
#endif
#ifndef SYS_io_uring_register
#define SYS_io_uring_register -1
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup -1
#endif
#ifndef SYS_ioperm
#define SYS_ioperm -1
#endif
#ifndef SYS_iopl
#define SYS_iopl -1
#endif
#ifndef SYS_landlock_add_rule
#define SYS_landlock_add_rule -1
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset -1
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self -1
#endif
#ifndef SYS_lchown
#define SYS_lchown -1
#endif
#ifndef SYS_link
#define SYS_link -1
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret -1
#endif
#ifndef SYS_mkdir
#define SYS_mkdir -1
#endif
#ifndef SYS_mknod
#define SYS_mknod -1
#endif
#ifndef SYS_modify_ldt
#define SYS_modify_ldt -1
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr -1
#endif
#ifndef SYS_move_mount
#define SYS_move_mount -1
#endif
#ifndef SYS_open
#define SYS_open -1
#endif
#ifndef SYS_open_tree
#define SYS_open_tree -1
#endif
#ifndef SYS_openat2
#define SYS_openat2 -1
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd -1
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open -1
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal -1
#endif
#ifndef SYS_pkey_alloc
#define SYS_pkey_alloc -1
#endif
#ifndef SYS_pkey_free
#define SYS_pkey_free -1
#endif
#ifndef SYS_pkey_mprotect
#define SYS_pkey_mprotect -1
#endif
#ifndef SYS_poll
#define SYS_poll -1
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise -1
#endif
#ifndef SYS_readlink
#define SYS_readlink -1
#endif
#ifndef SYS_rename
#define SYS_rename -1
#endif
#ifndef SYS_rmdir
#define SYS_rmdir -1
#endif
#ifndef SYS_rseq
#define SYS_rseq -1
#endif
#ifndef SYS_select
#define SYS_select -1
#endif
#ifndef SYS_signalfd
#define SYS_signalfd -1
#endif
#ifndef SYS_symlink
#define SYS_symlink -1
#endif
#ifndef SYS_sysfs
#define SYS_sysfs -1
#endif
#ifndef SYS_time
#define SYS_time -1
#endif
#ifndef SYS_unlink
#define SYS_unlink -1
#endif
#ifndef SYS_uselib
#define SYS_uselib -1
#endif
#ifndef SYS_ustat
#define SYS_ustat -1
#endif
#ifndef SYS_utime
#define SYS_utime -1
#endif
#ifndef SYS_utimes
#define SYS_utimes -1
#endif
