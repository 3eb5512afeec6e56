/* SPDX-License-Identifier: Apache-2.0 OR MIT
 * What the live tests run where a shell cannot be exact: numbers of calls, threads, signals. getpgid of a process that
 * is not there serves as a mark: its argument is seen in the recording, and it changes nothing. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static long count;

static void *mark_once(void *number)
{
	syscall(SYS_getpgid, (long)number);
	return NULL;
}

static void *mark_always(void *number)
{
	for (;;) {
		syscall(SYS_getpgid, (long)number);
		usleep(5000);
	}
}

static void handler(int sig)
{
	syscall(SYS_getpgid, 100000L + sig);
}

static void start(pthread_t *threads, void *(*what)(void *), long base)
{
	for (long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, what, (void *)(base + i));
}

/* In a page of its own that nothing has touched before the call. */
static const char cold[8192] __attribute__((aligned(4096))) = { [4096] = '/', 'c', 'o', 'l', 'd', 0 };

static void paths(void)
{
	static char longest[4096], plain[] = "/plain", other[] = "/other", odd[] = "/odd\n\x01\xff\"x\\";
	char *const arguments[] = { "zero", "", "two words", (char *)8, NULL };
	char *const many[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", NULL };
	long fd = -1;
#define MARK syscall(SYS_getpgid, count++)

	memset(longest, 'x', 1000);
	longest[0] = '/';
	/* A probe reads no page that is not there yet, and the linker puts strings on any. */
	for (int nth = 0; nth < 15; nth++)
		(void)*(volatile const char *)many[nth];
	for (int nth = 0; nth < 3; nth++)
		(void)*(volatile const char *)arguments[nth];
	MARK; syscall(SYS_openat, fd, plain, O_RDONLY);
	MARK; syscall(SYS_openat, fd, longest, O_RDONLY);
	MARK; syscall(SYS_openat, fd, odd, O_RDONLY);
	MARK; syscall(SYS_openat, fd, cold + 4096, O_RDONLY);
	MARK; syscall(SYS_openat, fd, "", O_RDONLY);
	MARK; syscall(SYS_openat, fd, NULL, O_RDONLY);
	MARK; syscall(SYS_openat, fd, 8L, O_RDONLY);
	MARK; syscall(SYS_renameat2, fd, plain, fd, other, 0);
	MARK; syscall(SYS_renameat2, fd, plain, fd, plain, 0);
	MARK; syscall(SYS_execve, plain, arguments, NULL);
	MARK; syscall(SYS_execve, plain, many, NULL);
	MARK; syscall(SYS_execve, other, NULL, NULL);
	MARK; syscall(SYS_execveat, fd, plain, arguments, NULL, 0);
	MARK;
}

/* Static: a page that the stack goes on to would be there or not by chance. */
static char buffer[4096] __attribute__((aligned(4096)));

static void data(void)
{
	static char hello[64] = "hello\n", odd[64] = "a\0b\"\\\xff\n";
	static struct sockaddr_in inet = { .sin_family = AF_INET };
	static struct sockaddr_in6 inet6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	static struct sockaddr_un path = { AF_UNIX, "/nowhere/socket" }, hidden = { AF_UNIX, "\0live-work" }, peer;
	static struct iovec parts[] = { { "one ", 4 }, { "two\n", 4 }, { "three", 5 } };
	static struct iovec into[] = { { buffer, 4 }, { buffer + 2048, 2048 } };
	static struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	static socklen_t length;
	int pipes[2], ends[2], udp, udp6, server, client;
	char *last;
	FILE *file = tmpfile();

	memset(hello + 32, 's', 31);
	inet.sin_port = inet6.sin6_port = htons(80);
	inet.sin_addr.s_addr = htonl(0x7f000001);
	if (pipe2(pipes, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) || !file)
		_exit(66);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	udp6 = socket(AF_INET6, SOCK_DGRAM, 0);
	server = socket(AF_UNIX, SOCK_STREAM, 0);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	last = mmap(NULL, 2 * 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(last + 65536, 65536);
	last += 65536 - 16;
	memcpy(last, "up to the edge.\n", 16);
	/* 0 to 6 */
	MARK; syscall(SYS_write, pipes[1], hello, 6);
	MARK; syscall(SYS_write, pipes[1], odd, 7);
	memset(buffer, 'x', 1000);
	MARK; syscall(SYS_write, pipes[1], buffer, 1000);
	MARK; syscall(SYS_write, pipes[1], cold + 4096, 5);
	MARK; syscall(SYS_write, pipes[1], NULL, 5);
	MARK; syscall(SYS_write, pipes[1], 8L, 5);
	MARK; syscall(SYS_write, pipes[1], last, 16);
	/* 7 to 11 */
	MARK; syscall(SYS_read, pipes[0], buffer, 13);
	MARK; syscall(SYS_readv, pipes[0], into, 2);
	MARK; syscall(SYS_read, pipes[0], buffer, 4096);
	MARK; syscall(SYS_writev, pipes[1], parts, 3);
	MARK; syscall(SYS_writev, pipes[1], 8L, 3);
	/* 12 and 13 */
	MARK; syscall(SYS_pwrite64, fileno(file), hello, 6, 0, 0, 0);
	MARK; syscall(SYS_pread64, fileno(file), buffer, 4096, 0, 0, 0);
	/* 14 to 16: there is an address or none */
	MARK; syscall(SYS_sendto, udp, "ping", 4, 0, &inet, sizeof(inet));
	MARK; syscall(SYS_sendto, ends[0], "pong", 4, 0, NULL, 0);
	MARK; syscall(SYS_recvfrom, ends[1], buffer, 4096, 0, NULL, NULL);
	/* 17 to 21 */
	MARK; syscall(SYS_connect, server, &path, sizeof(path));
	MARK; syscall(SYS_connect, udp6, &inet6, sizeof(inet6));
	MARK; syscall(SYS_bind, server, &hidden, 2 + 10);
	listen(server, 1);
	MARK; syscall(SYS_connect, client, &hidden, 2 + 10);
	length = sizeof(peer);
	MARK; syscall(SYS_accept4, server, &peer, &length, 0);
	/* 22 to 24 */
	length = sizeof(peer);
	MARK; syscall(SYS_getsockname, server, &peer, &length);
	MARK; syscall(SYS_sendmsg, ends[0], &message, 0);
	message.msg_iov = into;
	MARK; syscall(SYS_recvmsg, ends[1], &message, 0);
	MARK;
}

static volatile int ended;

static void *same_always(void *pause)
{
	while (!ended) {
		for (int i = 0; i < 50; i++)
			syscall(SYS_getppid);
		if (pause)
			usleep((long)pause);
	}
	return NULL;
}

/* The calls fail or change nothing; what they are called is in tests/live_quiet.rs. */
static void firsts(pthread_t *threads, long pause)
{
	static const long calls[] = {
		SYS_getsid, SYS_getpriority, SYS_sched_getscheduler, SYS_getrusage, SYS_times, SYS_sysinfo, SYS_umask,
		SYS_sched_get_priority_max, SYS_capget, SYS_getgroups, SYS_sched_rr_get_interval, SYS_timer_delete,
	};

	for (long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, same_always, (void *)pause);
	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		usleep(i < 6 ? 60000 : 250000);
		syscall(calls[i], -1L, 0L, 0L);
	}
	ended = 1;
	for (long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* Ends with a line that says what was refused, and by what. */
#define MUST(what) \
	do { \
		if (!(what)) { \
			dprintf(1, "%s: %s\n", #what, strerror(errno)); \
			exit(70); \
		} \
	} while (0)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static long sum, here;

static void *add(void *number)
{
	char *own = malloc(3000);

	memset(own, 1, 3000);
	pthread_mutex_lock(&mutex);
	for (int nth = 0; nth < 3000; nth++)
		sum += own[nth] * (long)number;
	here++;
	pthread_cond_broadcast(&arrived);
	while (here < count)
		pthread_cond_wait(&arrived, &mutex);
	pthread_mutex_unlock(&mutex);
	free(own);
	return number;
}

static void files(void)
{
	char name[64], text[64] = "";
	struct dirent *entry;
	struct stat status;
	int found = 0;
	FILE *file;
	DIR *dir;

	snprintf(name, sizeof(name), "/tmp/files-%d", getpid());
	MUST((file = fopen(name, "w+")));
	MUST(fprintf(file, "%s", "one line\n") > 0 && !fseek(file, 4, SEEK_SET) && fgets(text, sizeof(text), file));
	MUST(!fclose(file) && !stat(name, &status) && !chmod(name, 0640) && !rename(name, "/tmp/renamed"));
	MUST((dir = opendir("/tmp")));
	while ((entry = readdir(dir)))
		found += !strcmp(entry->d_name, "renamed");
	MUST(!closedir(dir) && !unlink("/tmp/renamed") && access("/tmp/renamed", F_OK));
	dprintf(1, "%ld bytes, %d file, %s", (long)status.st_size, found, text);
}

/* A server and its client, each in a process of its own. */
static void net(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct epoll_event event = { .events = EPOLLIN };
	socklen_t length = sizeof(address);
	int one = 1, server, fd, epoll, status;
	char text[64] = "";

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST((server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	MUST(!setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	MUST(!bind(server, (void *)&address, sizeof(address)) && !listen(server, 5));
	MUST(!getsockname(server, (void *)&address, &length));
	if (!fork()) {
		struct pollfd answer = { .events = POLLIN };

		MUST((fd = answer.fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
		MUST(!connect(fd, (void *)&address, sizeof(address)) && send(fd, "ping\n", 5, 0) == 5);
		MUST(poll(&answer, 1, 5000) == 1 && recv(fd, text, sizeof(text), 0) == 5);
		dprintf(1, "client: %s", text);
		exit(shutdown(fd, SHUT_RDWR) ? 1 : 3);
	}
	MUST((epoll = epoll_create1(0)) >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event));
	MUST(epoll_wait(epoll, &event, 1, 5000) == 1 && (fd = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	MUST(recv(fd, text, sizeof(text), 0) == 5 && send(fd, "pong\n", 5, MSG_NOSIGNAL) == 5);
	MUST(wait(&status) > 0 && !close(fd));
	dprintf(1, "server: %sclient ended with %d\n", text, WEXITSTATUS(status));
}

static volatile sig_atomic_t alarms, queued;

static void ring(int sig)
{
	alarms += sig == SIGALRM;
}

static void take(int sig, siginfo_t *info, void *context)
{
	queued += info->si_value.sival_int;
}

static void timers(void)
{
	struct sigaction alarm_action = { .sa_handler = ring }, action = { .sa_sigaction = take, .sa_flags = SA_SIGINFO };
	struct itimerval soon = { .it_value = { 0, 20000 } };
	struct itimerspec once = { .it_value = { 0, 20000000 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value = { .sival_int = 10 } };
	struct timespec wait_for = { 0, 5000000 }, limit = { 5, 0 }, until;
	struct signalfd_siginfo told;
	sigset_t set, none;
	uint64_t times;
	timer_t timer;
	int fd;

	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL));
	MUST(!sigaction(SIGALRM, &alarm_action, NULL) && !sigaction(SIGRTMIN, &action, NULL));
	alarm(100);
	MUST(alarm(0) > 0 && !setitimer(ITIMER_REAL, &soon, NULL) && sigsuspend(&none) < 0 && alarms == 1);
	MUST(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &once, NULL));
	MUST(sigsuspend(&none) < 0 && queued == 10 && !timer_gettime(timer, &once) && !timer_delete(timer));
	MUST(!kill(getpid(), SIGUSR1) && sigtimedwait(&set, NULL, &limit) == SIGUSR1);
	MUST((fd = signalfd(-1, &set, SFD_CLOEXEC)) >= 0 && !raise(SIGUSR2));
	MUST(read(fd, &told, sizeof(told)) == sizeof(told) && told.ssi_signo == SIGUSR2);
	once.it_value = wait_for;
	MUST((fd = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0 && !timerfd_settime(fd, 0, &once, NULL));
	MUST(read(fd, &times, sizeof(times)) == sizeof(times));
	MUST(!nanosleep(&wait_for, NULL) && !clock_gettime(CLOCK_MONOTONIC, &until));
	until.tv_nsec = 0;
	until.tv_sec += 1;
	wait_for.tv_nsec = 0;
	MUST(!clock_nanosleep(CLOCK_MONOTONIC, 0, &wait_for, NULL) && !clock_nanosleep(CLOCK_MONOTONIC, 0, &wait_for, NULL));
	MUST(!pselect(0, NULL, NULL, NULL, &wait_for, &none));
	dprintf(1, "%d alarm, %d queued, %d by a descriptor\n", (int)alarms, (int)queued, (int)times);
}

static int work(int argc, char **argv)
{
	pthread_t threads[64];
	const char *mode = argc > 1 ? argv[1] : "";

	count = argc > 2 ? atol(argv[2]) : 0;
	if (!strcmp(mode, "loop")) { /* count calls, then one mark */
		for (long i = 0; i < count; i++)
			syscall(SYS_getppid);
		syscall(SYS_getpgid, 777777L);
	} else if (!strcmp(mode, "threads")) { /* count threads, a mark each */
		start(threads, mark_once, 200000);
		for (long i = 0; i < count; i++)
			pthread_join(threads[i], NULL);
	} else if (!strcmp(mode, "live")) { /* two processes of count threads each, until killed */
		long base = fork() ? 300000 : 400000;
		start(threads, mark_always, base + 1);
		mark_always((void *)base);
	} else if (!strcmp(mode, "handler")) {
		signal(SIGTERM, handler);
		kill(getpid(), SIGTERM);
		return 5;
	} else if (!strcmp(mode, "segv")) {
		*(volatile int *)8 = 1;
	} else if (!strcmp(mode, "killed")) { /* a child that SIGKILL ends */
		pid_t child = fork();
		if (!child)
			for (;;)
				pause();
		usleep(200000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		return 7;
	} else if (!strcmp(mode, "chain")) { /* marks count, count + 1 in a child, count + 2; then becomes the rest of the line */
		syscall(SYS_getpgid, count);
		if (!fork()) {
			syscall(SYS_getpgid, count + 1);
			_exit(0);
		}
		wait(NULL);
		syscall(SYS_getpgid, count + 2);
		if (argc > 3)
			execv(argv[3], argv + 3);
	} else if (!strcmp(mode, "private")) { /* ARM's own calls between two marks; set_tls is called before main */
		char code[64];

		syscall(SYS_getpgid, count);
		__builtin___clear_cache(code, code + sizeof(code));
		syscall(SYS_getpgid, count + 1);
	} else if (!strcmp(mode, "paths")) { /* calls with strings, each behind a mark of its number from count on */
		paths();
	} else if (!strcmp(mode, "data")) { /* calls with buffers and addresses, each behind a mark as above */
		data();
	} else if (!strcmp(mode, "first")) { /* a call that nothing else makes */
		syscall(SYS_getsid, 123456L);
	} else if (!strcmp(mode, "firsts")) { /* threads that make the same calls all the time, and now and then one that is new */
		firsts(threads, argc > 3 ? atol(argv[3]) : 0);
	} else if (!strcmp(mode, "open")) { /* count times open and close; tells how many nanoseconds each took */
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		for (long i = 0; i < count; i++)
			close(open("/dev/null", O_RDONLY));
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("%lld\n", ((to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec) / count);
	} else if (!strcmp(mode, "files")) { /* what a program does with files */
		files();
		return 3;
	} else if (!strcmp(mode, "pool")) { /* count threads that wait for each other */
		start(threads, add, 1);
		for (long i = 0; i < count; i++)
			pthread_join(threads[i], NULL);
		dprintf(1, "sum %ld\n", sum);
		return 4;
	} else if (!strcmp(mode, "timers")) { /* signals and timers of most kinds */
		timers();
		return 5;
	} else if (!strcmp(mode, "net")) { /* a server and its client over loopback */
		net();
		return 6;
	} else if (!strcmp(mode, "sockets")) { /* sockets of the domain count, as many as the next word says */
		int fd = 0;

		for (int left = argc > 3 ? atoi(argv[3]) : 1; left > 0 && fd >= 0; left--)
			if ((fd = socket(count, SOCK_DGRAM, 0)) >= 0)
				close(fd);
		dprintf(1, "domain %ld: %s\n", count, fd < 0 ? strerror(errno) : "as asked for");
		return fd < 0;
	} else {
		return 64;
	}
	return 0;
}

/* With "beyond" as the last word, a call at the end that no mode makes. */
int main(int argc, char **argv)
{
	int beyond = argc > 2 && !strcmp(argv[argc - 1], "beyond");
	int status = work(argc - beyond, argv);

	if (beyond)
		dprintf(1, "beyond: %s\n", syscall(SYS_mkdirat, AT_FDCWD, "/tmp", 0700) ? strerror(errno) : "done");
	return status;
}
