// SPDX-License-Identifier: GPL-2.0
/*
 * sigwrite USEC FILE TEXT - write TEXT to FILE while a signal arrives every USEC
 * microseconds, which does nothing but interrupt
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static void ignore(int number)
{
	(void)number;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct itimerval often = { 0 }, never = { 0 };
	ssize_t done;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: sigwrite USEC FILE TEXT\n");
		return 2;
	}
	often.it_interval.tv_sec = atol(argv[1]) / 1000000;
	often.it_interval.tv_usec = atol(argv[1]) % 1000000;
	often.it_value = often.it_interval;
	fd = open(argv[2], O_WRONLY);
	if (fd < 0 || sigaction(SIGALRM, &action, NULL) ||
	    setitimer(ITIMER_REAL, &often, NULL)) {
		perror(argv[2]);
		return 1;
	}
	done = write(fd, argv[3], strlen(argv[3]));
	setitimer(ITIMER_REAL, &never, NULL);
	if (done < 0)
		perror("sigwrite");
	return done < 0;
}
