// SPDX-License-Identifier: Apache-2.0 OR MIT
// Several hundred different calls, one after the other, the same in every run: tests/strace_compare.rs runs this under
// strace and under us and compares. It works in its current directory, which is to be empty, and needs no rights: what
// would change the machine is called so that it fails. Two calls of prctl that no kernel has mark begin and end.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "missing_calls.h"

// Every argument as wide as a register.
#define W(x) ((long)(x))
#define GET(_0, _1, _2, _3, _4, _5, _6, NAME, ...) NAME
#define S0(n) (SYS_##n < 0 ? -1 : syscall(SYS_##n))
#define S1(n, a) (SYS_##n < 0 ? -1 : syscall(SYS_##n, W(a)))
#define S2(n, a, b) (SYS_##n < 0 ? -1 : syscall(SYS_##n, W(a), W(b)))
#define S3(n, a, b, c) (SYS_##n < 0 ? -1 : syscall(SYS_##n, W(a), W(b), W(c)))
#define S4(n, a, b, c, d) (SYS_##n < 0 ? -1 : syscall(SYS_##n, W(a), W(b), W(c), W(d)))
#define S5(n, a, b, c, d, e) (SYS_##n < 0 ? -1 : syscall(SYS_##n, W(a), W(b), W(c), W(d), W(e)))
#define S6(n, a, b, c, d, e, f) (SYS_##n < 0 ? -1 : syscall(SYS_##n, W(a), W(b), W(c), W(d), W(e), W(f)))
#define S(...) GET(__VA_ARGS__, S6, S5, S4, S3, S2, S1, S0)(__VA_ARGS__)

static char buf[8192];
static char stack[65536] __attribute__((aligned(64)));
static struct stat status;
static struct timespec zero;
static struct iovec vec[2] = {{buf, 5}, {buf + 100, 7}};

static void files(void) {
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    write(fd, "hello, world\n", 13);
    S(write, fd, "", 0);
    S(write, fd, buf, 5000);
    lseek(fd, 0, SEEK_SET);
    lseek(fd, -3, SEEK_END);
    lseek(fd, 1, SEEK_CUR);
    lseek(fd, 0, SEEK_DATA);
    lseek(fd, 0, SEEK_HOLE);
    lseek(fd, 0, 77);
    read(fd, buf, 100);
    pread(fd, buf, 100, 3);
    pwrite(fd, "x", 1, 7);
    pread64(fd, buf, 1, 0x123456789aLL);
    readv(fd, vec, 2);
    writev(fd, vec, 2);
    preadv(fd, vec, 2, 3);
    pwritev(fd, vec, 1, 0x100000002LL);
    preadv2(fd, vec, 1, 5, RWF_NOWAIT);
    pwritev2(fd, vec, 1, 5, RWF_DSYNC | RWF_SYNC);
    preadv2(fd, vec, 1, -1, RWF_HIPRI);
    ftruncate(fd, 4096);
    ftruncate64(fd, 0x100000001LL);
    truncate("file", 100);
    truncate64("missing", 0x200000003LL);
    fsync(fd);
    fdatasync(fd);
    syncfs(fd);
    fallocate(fd, 0, 0, 4096);
    fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0x100000000LL, 4096);
    fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 1, 2);
    fallocate(fd, 0x1000, 1, 2);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    posix_fadvise(fd, 4096, 0x100000000LL, POSIX_FADV_DONTNEED);
    posix_fadvise(fd, 1, 2, 99);
    readahead(fd, 0x300000000LL, 4096);
    sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    flock(fd, LOCK_EX | LOCK_NB);
    flock(fd, LOCK_SH);
    flock(fd, LOCK_UN);
    flock(fd, 0x80);
    fchmod(fd, 0600);
    fchmod(fd, 0);
    fchmod(fd, 07777);
    fchown(fd, -1, -1);
    fchown(fd, 0, 0);
    fstat(fd, &status);
    S(fsetxattr, fd, "user.x", "v", 1, XATTR_CREATE);
    S(fsetxattr, fd, "user.x", "w", 1, XATTR_REPLACE);
    S(fgetxattr, fd, "user.x", buf, 100);
    S(flistxattr, fd, buf, 100);
    S(fremovexattr, fd, "user.x");
    int copy = open("copy", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    off_t at = 0;
    sendfile(copy, fd, NULL, 10);
    sendfile(copy, fd, &at, 10);
    S(copy_file_range, fd, NULL, copy, NULL, 10, 0);
    S(copy_file_range, fd, NULL, copy, NULL, 10, 1);
    dup(fd);
    dup2(fd, 50);
    dup3(fd, 51, O_CLOEXEC);
    dup3(fd, 51, 0);
    dup3(fd, fd, 0x123);
    S(close, -1);
    S(close, 50);
    S(close, 0x7fffffff);
    S(close_range, 50, 60, 4);
    S(close_range, 200, ~0U, 0);
    S(close_range, 100, 200, 4 | 2);
    S(fcntl, fd, F_GETFD);
    S(fcntl, copy, F_GETFD);
    S(fcntl, fd, F_SETFD, FD_CLOEXEC);
    S(fcntl, fd, F_SETFD, 0);
    S(fcntl, fd, F_SETFD, 5);
    S(fcntl, fd, F_GETFL);
    S(fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK | O_APPEND);
    S(fcntl, fd, F_GETFL);
    S(fcntl, fd, F_DUPFD, 30);
    S(fcntl, fd, F_DUPFD_CLOEXEC, 40);
    S(fcntl, fd, F_GETOWN);
    S(fcntl, fd, F_SETOWN, 0);
    S(fcntl, fd, F_SETSIG, SIGUSR1);
    S(fcntl, fd, F_GETSIG);
    S(fcntl, fd, F_GETLEASE);
    S(fcntl, fd, F_SETLEASE, F_WRLCK);
    S(fcntl, fd, F_SETLEASE, F_UNLCK);
    S(fcntl, fd, F_NOTIFY, DN_ACCESS | DN_MULTISHOT);
    S(fcntl, fd, F_GETPIPE_SZ);
    S(fcntl, fd, F_SETPIPE_SZ, 4096);
    S(fcntl, fd, 99, 7);
    S(fcntl, -1, F_GETFL);
    S(open, "missing", O_RDONLY);
    S(open, "missing", O_WRONLY | O_NOFOLLOW | O_NOATIME | O_DIRECT);
    S(open, "file", O_RDONLY | O_DIRECTORY);
    S(open, "file", O_PATH);
    S(open, ".", O_RDWR | O_TMPFILE, 0600);
    S(open, "file", O_RDWR | O_SYNC);
    S(open, "file", O_WRONLY | O_DSYNC | O_ASYNC | O_NOCTTY);
    S(open, "file", O_ACCMODE | 0x40000000);
    S(open, NULL, 0);
    S(creat, "made", 0);
    S(openat, AT_FDCWD, "file", O_RDONLY);
    S(openat, 0xffffff9c, "file", O_RDONLY);
    S(openat, AT_FDCWD, "new", O_WRONLY | O_CREAT | O_APPEND, 04755);
    S(openat, fd, "x", O_RDONLY | O_LARGEFILE);
    S(openat, -1, "x", 0);
    S(openat, 1000, 16, O_RDWR);
    openat(AT_FDCWD, ".", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_DIRECTORY);
    S(openat2, AT_FDCWD, "file", buf + 8000, 24);
}

static void names(void) {
    mkdir("dir", 0755);
    S(mkdirat, AT_FDCWD, "dir/sub", 0700);
    S(mkdir, "dir", 01777);
    S(mknod, "fifo", S_IFIFO | 0600, 0);
    S(mknod, "plain", S_IFREG | 0644, 0);
    S(mknod, "plain", S_IFCHR | 0644, 0x103);
    S(mknod, "/proc/nothing", S_IFBLK | 0600, 0x12345678);
    S(mknod, "odd", 0600, 0);
    S(mknodat, AT_FDCWD, "fifo2", S_IFIFO | S_ISUID | 0600, 0);
    S(mknodat, 3, "x", S_IFSOCK | 0600, 0);
    S(link, "file", "hard");
    S(linkat, AT_FDCWD, "file", AT_FDCWD, "hard2", AT_SYMLINK_FOLLOW);
    S(linkat, -100, "file", -100, "hard2", AT_EMPTY_PATH);
    S(symlink, "file", "soft");
    S(symlinkat, "file", AT_FDCWD, "soft2");
    S(readlink, "soft", buf, 100);
    S(readlinkat, AT_FDCWD, "soft", buf, 2);
    S(rename, "hard", "harder");
    S(renameat, AT_FDCWD, "harder", AT_FDCWD, "hard");
    S(renameat2, AT_FDCWD, "hard", AT_FDCWD, "file", RENAME_NOREPLACE);
    S(renameat2, AT_FDCWD, "hard", AT_FDCWD, "file", RENAME_EXCHANGE);
    S(renameat2, AT_FDCWD, "hard", AT_FDCWD, "x", 0x18);
    S(access, "file", R_OK | W_OK);
    S(access, "file", F_OK);
    S(access, "file", X_OK);
    S(access, "file", 0x10);
    S(faccessat, AT_FDCWD, "file", R_OK | X_OK);
    S(faccessat2, AT_FDCWD, "file", R_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW);
    S(faccessat2, AT_FDCWD, "file", R_OK, 0x4000);
    S(chmod, "file", 0644);
    S(chmod, "missing", 0);
    S(fchmodat, AT_FDCWD, "file", 0600);
    S(chown, "file", 0, -1);
    S(lchown, "soft", -1, 0);
    S(fchownat, AT_FDCWD, "soft", 0, 0, AT_SYMLINK_NOFOLLOW);
    S(fchownat, AT_FDCWD, "", -1, -1, AT_EMPTY_PATH | 0x8000);
    stat("file", &status);
    lstat("soft", &status);
    fstatat(AT_FDCWD, "soft", &status, AT_SYMLINK_NOFOLLOW);
    fstatat(AT_FDCWD, "soft", &status, AT_NO_AUTOMOUNT);
    S(statx, AT_FDCWD, "file", 0, 0x7ff, buf);
    S(statx, AT_FDCWD, "file", AT_SYMLINK_NOFOLLOW | 0x2000, 0xfff, buf);
    S(statx, AT_FDCWD, "file", 0x4000, 1 | 2 | 0x800, buf);
    S(statx, -1, "", AT_EMPTY_PATH | 0x6000, 0x10000000, buf);
    struct statfs fs;
    statfs("/proc", &fs);
    statfs("missing", &fs);
    S(utimensat, AT_FDCWD, "file", NULL, 0);
    S(utimensat, AT_FDCWD, "soft", NULL, AT_SYMLINK_NOFOLLOW);
    S(futimesat, AT_FDCWD, "file", NULL);
    S(utimes, "file", NULL);
    S(utime, "file", NULL);
    S(setxattr, "file", "user.a", "b", 1, 0);
    S(lsetxattr, "file", "user.a", "b", 1, XATTR_CREATE);
    S(setxattr, "file", "user.a", "b", 1, 8);
    S(getxattr, "file", "user.a", buf, 10);
    S(lgetxattr, "file", "user.none", NULL, 0);
    S(listxattr, "file", buf, 100);
    S(llistxattr, "file", NULL, 0);
    S(removexattr, "file", "user.a");
    S(lremovexattr, "file", "user.a");
    S(getcwd, buf, 1);
    S(chdir, "dir");
    S(chdir, "..");
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    S(fchdir, dir);
    S(getdents64, dir, buf, 8192);
    S(getdents64, dir, buf, 8192);
    S(getdents, dir, buf, 100);
    memset(buf, 0, 8);
    S(name_to_handle_at, AT_FDCWD, "file", buf, buf + 200, AT_SYMLINK_FOLLOW);
    S(open_by_handle_at, dir, NULL, O_RDONLY);
    S(unlink, "soft");
    S(unlinkat, AT_FDCWD, "dir/sub", AT_REMOVEDIR);
    S(unlinkat, AT_FDCWD, "soft2", 0);
    S(unlinkat, AT_FDCWD, "x", 0x10);
    S(rmdir, "dir");
    S(rmdir, "dir");
    S(umask, 022);
    S(umask, 0);
    S(umask, 077);
    S(umask, 022);
    S(chroot, "missing");
    S(pivot_root, "missing", "dir");
    S(acct, "/missing/file");
    S(sync);
    S(inotify_add_watch, -1, "file", IN_ACCESS);
    close(dir);
}

static void mounts(void) {
    S(mount, "none", "/missing", "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, NULL);
    S(mount, "a", "/missing", NULL, MS_BIND | MS_REC, NULL);
    S(mount, NULL, "/missing", NULL, MS_REMOUNT | MS_BIND | MS_RELATIME | MS_SILENT, NULL);
    S(mount, NULL, "/missing", NULL, MS_PRIVATE | MS_REC, "data");
    S(mount, NULL, "/missing", NULL, 0x40000000, 0);
    S(umount2, "/missing", MNT_DETACH | UMOUNT_NOFOLLOW);
    S(umount2, "/missing", 0);
    S(umount2, "/missing", 0x100);
    S(fsopen, "nosuchfs", 1);
    S(fsconfig, -1, 6, NULL, NULL, 0);
    S(fsconfig, -1, 1, "a", "b", 0);
    S(fsmount, -1, 1, 3);
    S(move_mount, -1, "", AT_FDCWD, "/missing", 4);
    S(open_tree, AT_FDCWD, "missing", 1 | O_CLOEXEC | AT_RECURSIVE);
    S(fspick, AT_FDCWD, "missing", 2 | 1);
    S(mount_setattr, AT_FDCWD, "missing", AT_RECURSIVE, buf, 32);
    S(swapon, "/missing", 0x8000 | 5);
    S(swapoff, "/missing");
    S(quotactl, 0x80000102, "/missing", 0, NULL);
    S(quotactl, 0x80000700, "/missing", 5, buf);
    S(reboot, 1, 2, 3, NULL);
    S(reboot, 0xfee1dead, 0x28121970, 0, NULL);
    S(sethostname, buf, -1);
    S(setdomainname, buf, -1);
    S(delete_module, "no_such_module", O_NONBLOCK);
    S(finit_module, -1, "", 3);
    S(init_module, buf, 0, "");
    S(syslog, 10, NULL, 0);
    S(syslog, 77, NULL, 3);
    S(settimeofday, NULL, NULL);
    S(clock_settime, CLOCK_MONOTONIC, &zero);
    S(vhangup, 1);
}

static void memory(void) {
    long page = 4096;
    char *map = mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mmap(map, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    int fd = open("file", O_RDWR);
    ftruncate(fd, 4 * page);
    char *shared = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, page);
    mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_DENYWRITE | MAP_POPULATE, fd, 0);
    mmap(NULL, page, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
    mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1, 0);
    mmap(NULL, page, PROT_READ, 0, fd, 0);
    mmap(NULL, page, PROT_READ | 0x100, MAP_PRIVATE | MAP_STACK | MAP_NORESERVE | MAP_GROWSDOWN | MAP_LOCKED, -5, 0);
    mmap((void *)page, page, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS, -1, 0);
    mmap(NULL, 0, PROT_WRITE, MAP_PRIVATE, 0, 3);
    mprotect(map, 2 * page, PROT_READ | PROT_WRITE);
    mprotect(map, page, PROT_NONE);
    mprotect(map, page, PROT_READ | PROT_WRITE);
    S(mprotect, map + 1, page, 0x1000000 | PROT_READ);
    madvise(map, page, MADV_DONTNEED);
    madvise(map, page, MADV_WILLNEED);
    madvise(map, page, MADV_HUGEPAGE);
    madvise(map, page, 12345);
    msync(shared, page, MS_SYNC);
    msync(shared, page, MS_ASYNC | MS_INVALIDATE);
    msync(shared, page, 0x80);
    S(mincore, map, page, buf);
    mlock(map, page);
    S(mlock2, map, page, 1);
    S(mlock2, map, page, 2);
    munlock(map, page);
    S(mlockall, 0);
    S(mlockall, 0x18);
    S(munlockall);
    char *moved = mremap(map + 4 * page, page, 2 * page, MREMAP_MAYMOVE);
    mremap(moved, page, page, 0);
    S(mremap, moved, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, map + 7 * page);
    S(mremap, moved, page, page, 0x40, 5);
    munmap(shared, 2 * page);
    S(munmap, 1, 1);
    S(brk, 0);
    S(brk, 1);
    S(remap_file_pages, map, page, 0, 0, 0);
    S(mbind, map, page, MPOL_DEFAULT, NULL, 0, 0);
    S(mbind, map, page, MPOL_BIND | MPOL_F_STATIC_NODES, NULL, 0, MPOL_MF_STRICT);
    S(set_mempolicy, MPOL_INTERLEAVE, NULL, 0);
    S(get_mempolicy, NULL, NULL, 0, map, MPOL_F_ADDR);
    S(migrate_pages, -1, 0, NULL, NULL);
    S(move_pages, 0, 0, NULL, NULL, NULL, MPOL_MF_MOVE);
    S(memfd_create, "m", 0);
    int mem = S(memfd_create, "m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    S(memfd_create, "m", 0x100);
    S(fcntl, mem, F_GET_SEALS);
    S(fcntl, mem, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
    S(fcntl, mem, F_GET_SEALS);
    S(pkey_alloc, 0, 0x10);
    S(pkey_free, 77);
    S(pkey_mprotect, map, page, PROT_READ, -1);
    S(membarrier, 0, 0, 0);
    S(membarrier, 0x4000, 0, 0);
    S(process_vm_readv, -1, vec, 1, vec, 1, 0);
    S(process_vm_writev, -1, vec, 1, vec, 1, 5);
    S(userfaultfd, 0x100);
    S(get_robust_list, 0, buf, buf + 8);
    S(set_robust_list, buf, 3);
    close(fd);
}

static void handler(int sig) { (void)sig; }

static void signals(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigset_t set, old;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGRTMIN, NULL, &action);
    sigaction(SIGKILL, &action, NULL);
    S(rt_sigaction, 99, NULL, NULL, 8);
    S(rt_sigaction, 64, NULL, NULL, 8);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, &old);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    S(rt_sigprocmask, 77, &set, NULL, 8);
    S(rt_sigprocmask, SIG_BLOCK, &set, NULL, 16);
    S(rt_sigpending, buf, 8);
    kill(getpid(), SIGUSR1);
    kill(getpid(), 0);
    kill(-123456, SIGTERM);
    kill(getpid(), 777);
    S(tkill, getpid(), SIGUSR1);
    S(tkill, -1, SIGHUP);
    S(tgkill, getpid(), getpid(), SIGUSR1);
    S(tgkill, -1, -1, 0);
    S(rt_sigqueueinfo, 0x7ffffff, SIGUSR1, buf);
    S(rt_tgsigqueueinfo, 0x7ffffff, 0x7ffffff, SIGUSR1, buf);
    S(rt_sigtimedwait, &set, NULL, &zero, 8);
    S(sigaltstack, NULL, buf);
    int fd = S(signalfd4, -1, &set, 8, SFD_CLOEXEC | SFD_NONBLOCK);
    S(signalfd4, fd, &set, 8, 0);
    S(signalfd4, -1, &set, 8, 3);
    S(signalfd, -1, &set, 4);
    read(fd, buf, 128);
    int pidfd = S(pidfd_open, getpid(), 0);
    S(pidfd_open, -1, O_NONBLOCK);
    S(pidfd_send_signal, pidfd, 0, NULL, 0);
    S(pidfd_send_signal, pidfd, SIGUSR1, NULL, 8);
    close(pidfd);
    close(fd);
}

static int child(void *unused) {
    (void)unused;
    syscall(SYS_exit, 3);
    return 0;
}

static void tasks(void) {
    int state;
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        S(setpgid, 0, 0);
        S(getpgid, 0);
        S(getsid, 0);
        execl("./missing", "missing", NULL);
        syscall(SYS_exit_group, 7);
    }
    waitpid(pid, &state, 0);
    waitpid(-1, &state, WNOHANG);
    S(wait4, -1, NULL, WUNTRACED | WCONTINUED, NULL);
    S(wait4, 123456789, NULL, __WALL | __WCLONE | 0x10, buf);
    S(waitid, P_ALL, 0, NULL, WEXITED | WNOHANG | WNOWAIT, NULL);
    S(waitid, P_PID, 123456789, buf, WSTOPPED, NULL);
    S(waitid, P_PGID, 3, buf, 0, NULL);
    S(waitid, 9, 3, buf, 0, NULL);
    pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    waitpid(pid, &state, 0);
    // Its end's signal comes behind the wait in every run.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid = clone(child, stack + sizeof stack, CLONE_FS | CLONE_FILES | CLONE_PARENT_SETTID | SIGUSR2, NULL, &state);
    waitpid(pid, &state, __WALL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    pid = vfork();
    if (pid == 0)
        syscall(SYS_exit, 5);
    waitpid(pid, &state, 0);
    S(clone, CLONE_SIGHAND, 0, 0, 0, 0);
    S(clone, CLONE_THREAD | 0x20, 0, 0, 0, 0);
    S(clone, CLONE_NEWUSER | CLONE_FS | CLONE_PIDFD | CLONE_PARENT_SETTID, 0, 16, 0, 0);
    S(clone3, buf, 8);
    S(unshare, 0);
    S(unshare, CLONE_SYSVSEM);
    S(unshare, 0x20 | CLONE_NEWNET);
    S(setns, -1, CLONE_NEWNET);
    S(setns, -1, 0);
    S(kcmp, getpid(), getpid(), 0, 0, 0);
    S(kcmp, -1, -1, 2, 0, 0);
    S(kcmp, -1, -1, 99, 5, 6);
    S(ptrace, 0x4200, 123456789, 0, 0x10001);
    S(prctl, PR_SET_SECCOMP, 2, NULL, 0, 0);
    S(quotactl, 0x80000300, "/missing", 0, NULL);
    S(reboot, 0, 0, 0xa1b2c3d4, NULL);
    S(membarrier, 0x80, 1, 0);
    S(sysfs, 99, 0, 0);
    S(getpid);
    S(getppid);
    S(gettid);
    S(getuid);
    S(geteuid);
    S(getgid);
    S(getegid);
    S(setuid, -1);
    S(setgid, -1);
    S(setreuid, -1, -1);
    S(setregid, -1, -1);
    S(setresuid, -1, -1, -1);
    S(setresgid, -1, -1, -1);
    S(setfsuid, -1);
    S(setfsgid, -1);
    S(getresuid, buf, buf + 4, buf + 8);
    S(getresgid, buf, buf + 4, buf + 8);
    S(getgroups, 0, NULL);
    S(setgroups, -1, NULL);
    S(getpgrp);
    S(getpgid, 123456789);
    S(setpgid, -1, 5);
    S(set_tid_address, NULL);
    S(uname, buf);
    S(sysinfo, buf);
    S(times, NULL);
    S(getcpu, buf, buf + 4, NULL);
    S(capget, NULL, NULL);
    S(capset, NULL, NULL);
    S(personality, 0xffffffff);
    S(personality, PER_LINUX | ADDR_NO_RANDOMIZE);
    S(ptrace, 0x4206, 123456789, 0, 0);
    S(ptrace, 16, 123456789, 0, 0);
    S(ptrace, 7, 123456789, 0, 9);
    S(ptrace, 1, 123456789, 16, 32);
    S(ptrace, 0x4204, 123456789, 1, 32);
    S(seccomp, 1, 0x4000, NULL);
    S(seccomp, 9, 1, NULL);
    S(seccomp, 3, 0, buf);
    S(arch_prctl, 0x1003, buf);
    S(arch_prctl, 0x9999, buf);
    S(bpf, 0, NULL, 0);
    S(bpf, 5, NULL, 128);
    S(bpf, 999, NULL, 8);
    S(perf_event_open, NULL, 0, -1, -1, 8);
    S(execve, "./missing", NULL, NULL);
    S(execveat, AT_FDCWD, "missing", NULL, NULL, AT_SYMLINK_NOFOLLOW);
    S(restart_syscall);
    S(rseq, NULL, 32, 1, 0x53053053);
    S(ioperm, 0x80, 1, 0);
    S(iopl, 0);
    S(modify_ldt, 0, NULL, 0);
}

static void limits(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    S(getrlimit, RLIMIT_STACK, buf);
    S(setrlimit, RLIMIT_CORE, buf);
    S(prlimit64, 0, RLIMIT_AS, NULL, buf);
    S(prlimit64, 0, 99, NULL, NULL);
    S(prlimit64, 123456789, RLIMIT_RTTIME, NULL, NULL);
    S(getrusage, RUSAGE_SELF, buf);
    S(getrusage, RUSAGE_CHILDREN, buf);
    S(getrusage, RUSAGE_THREAD, buf);
    S(getrusage, 55, buf);
    S(getpriority, PRIO_PROCESS, 0);
    S(getpriority, PRIO_USER, 0);
    S(setpriority, PRIO_PGRP, 0, 0);
    S(setpriority, 9, 0, -5);
    S(ioprio_get, 1, 0);
    S(ioprio_set, 1, 0, 2 << 13 | 4);
    S(ioprio_get, 1, 0);
    S(ioprio_set, 9, 0, 7 << 13);
    S(sched_yield);
    S(sched_getscheduler, 0);
    S(sched_setscheduler, 0, SCHED_OTHER, buf + 4000);
    S(sched_setscheduler, 0, SCHED_FIFO | 0x40000000, buf + 4000);
    S(sched_setscheduler, -1, 77, NULL);
    S(sched_getparam, 0, buf);
    S(sched_setparam, 0, NULL);
    S(sched_get_priority_max, SCHED_RR);
    S(sched_get_priority_min, SCHED_FIFO);
    S(sched_get_priority_min, 99);
    S(sched_rr_get_interval, 0, buf);
    S(sched_getaffinity, 0, 128, buf);
    S(sched_setaffinity, 0, 0, NULL);
    S(sched_getattr, 0, buf, 56, 0);
    S(sched_setattr, 0, NULL, 0);
    S(prctl, PR_SET_NAME, "many");
    S(prctl, PR_GET_NAME, buf);
    S(prctl, PR_SET_DUMPABLE, 1);
    S(prctl, PR_GET_DUMPABLE);
    S(prctl, PR_SET_DUMPABLE, 7);
    S(prctl, PR_SET_PDEATHSIG, SIGKILL);
    S(prctl, PR_GET_PDEATHSIG, buf);
    S(prctl, PR_SET_PDEATHSIG, 0);
    S(prctl, PR_SET_KEEPCAPS, 0);
    S(prctl, PR_GET_KEEPCAPS);
    S(prctl, PR_CAPBSET_READ, 21);
    S(prctl, PR_CAPBSET_READ, 99);
    S(prctl, PR_CAP_AMBIENT, 1, 99, 0, 0);
    S(prctl, PR_GET_SECCOMP);
    S(prctl, PR_SET_TIMERSLACK, 50000);
    S(prctl, PR_GET_TIMERSLACK);
    S(prctl, PR_SET_CHILD_SUBREAPER, 0);
    S(prctl, PR_GET_CHILD_SUBREAPER, buf);
    S(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    S(prctl, PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0);
    S(prctl, PR_SET_THP_DISABLE, 0, 0, 0, 0);
    S(prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
    S(prctl, PR_GET_SECUREBITS);
    S(prctl, PR_SET_MM, 1, 0, 0, 0);
    S(prctl, PR_SET_PTRACER, 0);
    S(prctl, PR_GET_TSC, buf);
    S(prctl, PR_MCE_KILL, 1, 9, 0, 0);
    S(prctl, PR_SET_SECCOMP, 9, 0, 0, 0);
    S(prctl, PR_GET_SPECULATION_CTRL, 0, 0, 0, 0);
    S(prctl, 0x12345, 1, 2, 3, 4);
}

static void times_and_timers(void) {
    struct itimerspec spec;
    memset(&spec, 0, sizeof spec);
    S(clock_gettime, CLOCK_REALTIME, buf);
    S(clock_gettime, CLOCK_THREAD_CPUTIME_ID, buf);
    S(clock_gettime, CLOCK_TAI, buf);
    S(clock_gettime, -6, buf);
    S(clock_gettime, ~1234567 << 3 | 2, buf);
    S(clock_gettime, ~7 << 3 | 3, buf);
    S(clock_gettime, 99, buf);
    S(clock_getres, CLOCK_MONOTONIC, buf);
    S(clock_nanosleep, CLOCK_MONOTONIC, 0, &zero, NULL);
    S(clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &zero, NULL);
    S(clock_adjtime, 99, NULL);
    S(adjtimex, NULL);
    S(nanosleep, &zero, NULL);
    S(gettimeofday, buf, NULL);
    S(time, NULL);
    S(alarm, 0);
    S(getitimer, ITIMER_REAL, buf);
    S(setitimer, ITIMER_PROF, buf + 4096, NULL);
    S(setitimer, 9, NULL, NULL);
    int timer = 0;
    S(timer_create, CLOCK_MONOTONIC, NULL, &timer);
    S(timer_settime, timer, TIMER_ABSTIME, &spec, NULL);
    S(timer_gettime, timer, buf);
    S(timer_getoverrun, timer);
    S(timer_delete, timer);
    S(timer_delete, 77);
    int fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    timerfd_create(CLOCK_REALTIME, 0);
    S(timerfd_create, 99, 0x10);
    timerfd_settime(fd, TFD_TIMER_ABSTIME | 2, &spec, NULL);
    timerfd_gettime(fd, &spec);
    read(fd, buf, 8);
    read(fd, buf, 4);
}

static void waiting(void) {
    int pair[2];
    pipe(pair);
    pipe2(pair, O_CLOEXEC | O_NONBLOCK);
    S(pipe2, pair, 0x30);
    S(pipe2, NULL, O_DIRECT);
    struct pollfd fds = {.fd = pair[0], .events = POLLIN};
    poll(&fds, 1, 0);
    S(poll, NULL, 0, 0);
    S(poll, NULL, -1, -1);
    ppoll(&fds, 1, &zero, NULL);
    fd_set set;
    FD_ZERO(&set);
    struct timeval none = {0, 0};
    select(0, NULL, NULL, NULL, &none);
    S(select, -1, NULL, NULL, NULL, NULL);
    pselect(0, NULL, NULL, NULL, &zero, NULL);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    S(epoll_create1, 0);
    S(epoll_create1, 5);
    S(epoll_create, 10);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event);
    epoll_ctl(epoll, EPOLL_CTL_MOD, pair[0], &event);
    epoll_ctl(epoll, EPOLL_CTL_DEL, pair[0], NULL);
    S(epoll_ctl, epoll, 9, -1, NULL);
    S(epoll_wait, epoll, buf, 5, 0);
    epoll_pwait(epoll, &event, 1, 0, NULL);
    S(epoll_pwait, epoll, buf, 0, -1, NULL, 8);
    S(epoll_pwait2, epoll, buf, 1, &zero, NULL, 8);
    S(eventfd2, 3, EFD_CLOEXEC | EFD_SEMAPHORE);
    S(eventfd2, 0, EFD_NONBLOCK);
    S(eventfd2, 7, 0x40);
    S(eventfd, 5);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    S(inotify_init1, 3);
    S(inotify_init);
    int wd = inotify_add_watch(watch, ".", IN_CREATE | IN_DELETE | IN_ONLYDIR);
    inotify_add_watch(watch, "missing", IN_ALL_EVENTS | IN_MASK_ADD);
    inotify_rm_watch(watch, wd);
    inotify_rm_watch(watch, 99);
    S(fanotify_init, 0x100000, 0);
    S(fanotify_mark, -1, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN | FAN_ONDIR, AT_FDCWD, "file");
    write(pair[1], "abcdef", 6);
    int more[2];
    pipe(more);
    S(tee, pair[0], more[1], 3, SPLICE_F_NONBLOCK);
    S(splice, pair[0], NULL, more[1], NULL, 3, SPLICE_F_MOVE | SPLICE_F_MORE);
    S(splice, -1, NULL, -1, NULL, 5, 0x30);
    S(vmsplice, more[1], vec, 1, SPLICE_F_GIFT);
    S(fcntl, more[0], F_GETPIPE_SZ);
    S(fcntl, more[0], F_SETPIPE_SZ, 8192);
    int word = 1;
    S(futex, &word, FUTEX_WAKE, 1);
    S(futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 0x7fffffff);
    S(futex, &word, FUTEX_WAIT, 2, NULL);
    S(futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2, &zero);
    S(futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 2, NULL, 0, -1);
    S(futex, &word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 6);
    S(futex, &word, FUTEX_REQUEUE, 1, 2, buf, 0);
    S(futex, &word, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 1, 2, buf, 7);
    S(futex, &word, FUTEX_UNLOCK_PI);
    S(futex, &word, FUTEX_TRYLOCK_PI | FUTEX_PRIVATE_FLAG);
    S(futex, &word, FUTEX_LOCK_PI, 0, &zero);
    S(futex, &word, 99, 1, 2, 3, 4);
    S(futex_waitv, NULL, 0, 0, NULL, CLOCK_MONOTONIC);
    S(io_setup, 1, NULL);
    S(io_destroy, 77);
    S(io_cancel, 77, buf, buf);
    S(io_submit, 77, 1, NULL);
    S(io_getevents, 77, 1, 2, NULL, NULL);
    S(io_uring_setup, 0, NULL);
    S(io_uring_enter, -1, 1, 2, 1 | 2, NULL, 8);
    S(io_uring_register, -1, 0, NULL, 1);
}

static void sockets(void) {
    int pair[2], one = 1;
    socklen_t length = sizeof one;
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP);
    socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
    socket(AF_UNIX, SOCK_SEQPACKET, 0);
    int netlink = socket(AF_NETLINK, SOCK_RAW, 0);
    socket(AF_NETLINK, SOCK_DGRAM, 15);
    socket(AF_PACKET, SOCK_RAW, htons(3));
    socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    socket(AF_INET, 99, 7);
    socket(77, SOCK_STREAM, 3);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
    int other[2];
    socketpair(AF_INET, SOCK_STREAM, 0, other);
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(tcp, IPPROTO_IP, IP_TTL, &one, sizeof one);
    setsockopt(tcp, SOL_SOCKET, 9999, NULL, 0);
    setsockopt(tcp, 555, 5, &one, 4);
    setsockopt(udp, 17, 103, &one, 4);
    setsockopt(netlink, 270, 1, &one, 4);
    getsockopt(tcp, SOL_SOCKET, SO_TYPE, &one, &length);
    getsockopt(tcp, SOL_SOCKET, SO_ERROR, &one, &length);
    getsockopt(tcp, SOL_IPV6, 26, &one, &length);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000001)}};
    bind(udp, (struct sockaddr *)&address, sizeof address);
    bind(-1, NULL, 0);
    listen(tcp, 5);
    S(accept4, tcp, NULL, NULL, SOCK_NONBLOCK | 1);
    S(accept, -1, NULL, NULL);
    S(accept4, -1, NULL, NULL, SOCK_CLOEXEC);
    connect(netlink, NULL, 0);
    length = sizeof address;
    getsockname(udp, (struct sockaddr *)&address, &length);
    getpeername(udp, (struct sockaddr *)&address, &length);
    send(pair[0], "hello", 5, MSG_DONTWAIT | MSG_NOSIGNAL);
    send(pair[0], "more", 4, MSG_MORE);
    sendto(-1, "x", 1, MSG_OOB, NULL, 0);
    recv(pair[1], buf, 100, MSG_PEEK | MSG_TRUNC);
    recvfrom(pair[1], buf, 100, 0, NULL, NULL);
    recv(pair[1], buf, 100, MSG_DONTWAIT);
    struct msghdr message = {.msg_iov = vec, .msg_iovlen = 1};
    sendmsg(pair[0], &message, MSG_NOSIGNAL);
    recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    recvmsg(-1, &message, 0x10000000);
    S(sendmmsg, pair[0], NULL, 0, MSG_CONFIRM);
    S(recvmmsg, pair[1], NULL, 0, MSG_WAITFORONE, NULL);
    shutdown(pair[0], SHUT_WR);
    shutdown(pair[0], SHUT_RDWR);
    shutdown(-1, 9);
    S(ioctl, tcp, FIONREAD, &one);
    S(ioctl, tcp, FIONBIO, &one);
    S(ioctl, tcp, SIOCGIFNAME, buf);
    S(ioctl, tcp, FIOCLEX);
    S(ioctl, tcp, FIONCLEX);
    S(ioctl, 0, TCGETS, buf);
    S(ioctl, 0, TIOCGWINSZ, buf);
    S(ioctl, tcp, TCFLSH, 0);
    S(ioctl, tcp, TCFLSH, 9);
    S(ioctl, tcp, TIOCSCTTY, 1);
    S(ioctl, tcp, 0xc0047a05, 0);
    S(ioctl, tcp, 0x7a05, 77);
    S(ioctl, tcp, 0x40087a06, buf);
    S(ioctl, -1, 0x80087a06, 5);
    S(ioctl, tcp, 0x80086601, buf);
    S(ioctl, tcp, 0x40049409, 3);
}

static void ipc(void) {
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    void *at = shmat(id, NULL, 0);
    shmdt(at);
    at = shmat(id, NULL, SHM_RDONLY);
    shmdt(at);
    shmctl(id, IPC_STAT, (void *)buf);
    shmctl(id, IPC_RMID, NULL);
    shmget(0x1234567, 1, 0);
    shmget(0x1234567, 4096, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | 21 << 26 | 0644);
    S(shmat, -1, 16, SHM_RND | SHM_EXEC | 5);
    S(shmdt, 3);
    S(shmctl, -1, 77, NULL);
    id = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    semctl(id, 1, SETVAL, 3);
    semctl(id, 1, GETVAL);
    S(semctl, id, 0, GETPID, 0);
    struct sembuf op = {0, 1, IPC_NOWAIT};
    semop(id, &op, 1);
    semtimedop(id, &op, 1, &zero);
    semctl(id, 0, IPC_RMID);
    semctl(-1, 0, 99, 5);
    id = msgget(IPC_PRIVATE, IPC_CREAT | IPC_EXCL | 0666);
    long message[4] = {5, 6, 7, 8};
    msgsnd(id, message, 8, IPC_NOWAIT);
    msgrcv(id, message, 8, 0, IPC_NOWAIT | MSG_NOERROR);
    msgrcv(id, message, 8, -5, IPC_NOWAIT);
    msgctl(id, IPC_STAT, (void *)buf);
    msgctl(id, IPC_RMID, NULL);
    msgget(5, 0);
    S(mq_open, "none", O_RDONLY);
    S(mq_open, "none", O_RDWR | O_EXCL, 0600, NULL);
    S(mq_unlink, "none");
    S(mq_timedsend, -1, buf, 5, 3, NULL);
    S(mq_timedreceive, -1, buf, 5, NULL, NULL);
    S(mq_notify, -1, NULL);
    S(mq_getsetattr, -1, NULL, buf);
    S(add_key, "user", "x", NULL, 0, 77);
    S(add_key, "nosuchtype", "x", "y", 1, -3);
    S(request_key, "nosuchtype", "x", NULL, -1);
    S(keyctl, 0, -3, 0);
    S(keyctl, 3, 1234567);
    S(keyctl, 999, 1, 2, 3, 4);
    S(getrandom, buf, 8, 0);
    S(getrandom, buf, 8, 1 | 2);
    S(getrandom, NULL, 0, 0x10);
    S(landlock_create_ruleset, NULL, 0, 1);
    S(landlock_create_ruleset, NULL, 8, 0x10);
    S(landlock_add_rule, -1, 1, NULL, 0);
    S(landlock_restrict_self, -1, 0);
    S(process_madvise, -1, vec, 1, MADV_COLD, 0);
    S(pidfd_getfd, -1, 3, 0);
    S(memfd_secret, 0x10);
    S(lookup_dcookie, 5, buf, 10);
    S(sysfs, 3, 0, 0);
    S(ustat, 0x801, buf);
    S(uselib, "missing");
    syscall(999, 1, 2, 3);
#ifdef __arm__
    // ARM's own calls: breakpoint would end it, the first unknown ones fail.
    syscall(0xf0002, buf, buf + 64, 0);
    syscall(0xf0002, buf, buf, 1);
    syscall(0xf0005, __builtin_thread_pointer());
    syscall(0xf0006);
    syscall(0xf0077, 1, 2, 3);
#endif
}

int main(int argc, char **argv) {
    // Addresses are the same in every run without their randomisation.
    if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE) && argc > 0) {
        personality(ADDR_NO_RANDOMIZE);
        execv("/proc/self/exe", argv);
        return 1;
    }
    S(prctl, 0x4d61726b, 1, 0, 0, 0);
    void (*const parts[])(void) = {files, names, mounts, memory, signals, tasks, limits, times_and_timers, waiting, sockets, ipc};
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++)
        parts[at]();
    S(prctl, 0x4d61726b, 2, 0, 0, 0);
    return 0;
}
