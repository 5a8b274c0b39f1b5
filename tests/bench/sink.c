// SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
/* An SMTP server that takes all mail and throws it away, so cheaply that it is never what a measurement waits for.
 *
 *     sink COUNTERS PROCESSES [RECORD]
 *
 * It listens on a free port of 127.0.0.1, prints "PORT\n" when it is ready, and ends with its parent. COUNTERS is a
 * file that becomes a shared mapping of struct counters, for whoever measures. A message is counted when the reply to
 * its final dot is about to be sent; then, too, its RCPT commands are appended to RECORD, in one write. It offers PIPELINING, SIZE and 8BITMIME. It trusts its clients: what they say
 * is not checked but for where a line ends, and replies are short enough to go into the socket's buffer at once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct counters {                       /* sink.py reads them as "=4Q" */
    _Atomic uint64_t messages, sessions;
    _Atomic uint64_t first, last;       /* CLOCK_MONOTONIC, ns, of the first and the last message */
};

/* What the last octets of the message were; LINE: CRLF, as also in front of the first one. */
enum content { INSIDE, CR, LINE, DOT, DOT_CR };

struct session {
    int fd;
    int in_message;
    enum content content;
    size_t length;                      /* of the command so far */
    char command[2048];                 /* what is longer is cut: only the verb counts */
    size_t pending;
    char replies[4096];
    size_t named;
    char recipients[4096];              /* the RCPT commands of this message; for RECORD only */
};

static struct counters *counters;
static int record = -1;

static void die(const char *what) { perror(what); exit(1); }

static void reply(struct session *s, const char *text)
{
    size_t length = strlen(text);
    if (s->pending + length > sizeof s->replies) {      /* a long pipeline */
        send(s->fd, s->replies, s->pending, MSG_NOSIGNAL);
        s->pending = 0;
    }
    memcpy(s->replies + s->pending, text, length);
    s->pending += length;
}

static void record_message(struct session *s)
{
    if (record >= 0 && write(record, s->recipients, s->named) != (ssize_t)s->named)
        die("sink: record");
    s->named = 0;
}

static void note_recipient(struct session *s)
{
    int length = snprintf(s->recipients + s->named, sizeof s->recipients - s->named, "%s\n", s->command);
    if (length < 0 || (s->named += length) >= sizeof s->recipients)
        die("sink: too many recipients to record");
}

static void count_message(void)
{
    struct timespec t;
    uint64_t nobody = 0;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = t.tv_sec * 1000000000ull + t.tv_nsec;
    atomic_compare_exchange_strong(&counters->first, &nobody, now);
    counters->last = now;
    counters->messages++;
}

/* Returns 0 when the session is over. */
static int obey(struct session *s)
{
    static const char offer[] = "250-sink\r\n250-PIPELINING\r\n250-SIZE 1000000000\r\n250 8BITMIME\r\n";
    if (!strncasecmp(s->command, "QUIT", 4)) { reply(s, "221 2.0.0 bye\r\n"); return 0; }
    if (!strncasecmp(s->command, "EHLO", 4)) { reply(s, offer); return 1; }
    if (!strncasecmp(s->command, "DATA", 4)) {
        s->in_message = 1;
        s->content = LINE;
        reply(s, "354 go on\r\n");
        return 1;
    }
    if (!strncasecmp(s->command, "MAIL", 4))
        s->named = 0;
    if (record >= 0 && !strncasecmp(s->command, "RCPT", 4))
        note_recipient(s);
    reply(s, "250 2.0.0 ok\r\n");
    return 1;
}

/* What is behind the command's line end, 0 when the session is over. */
static char *read_command(struct session *s, char *at, char *end)
{
    char *newline = memchr(at, '\n', end - at);
    size_t part = (newline ? newline : end) - at;
    size_t room = sizeof s->command - 1 - s->length;
    size_t kept = part < room ? part : room;
    memcpy(s->command + s->length, at, kept);
    s->length += kept;
    if (!newline)
        return end;
    s->command[s->length] = 0;
    s->length = 0;
    return obey(s) ? newline + 1 : 0;
}

/* What is behind the final dot. */
static char *read_message(struct session *s, char *at, char *end)
{
    while (at < end) {
        if (s->content == INSIDE && !(at = memchr(at, '\r', end - at)))
            return end;
        char octet = *at++;
        switch (s->content) {
        case INSIDE: s->content = CR; break;
        case CR:     s->content = octet == '\n' ? LINE : octet == '\r' ? CR : INSIDE; break;
        case LINE:   s->content = octet == '.' ? DOT : octet == '\r' ? CR : INSIDE; break;
        case DOT:    s->content = octet == '\r' ? DOT_CR : INSIDE; break;
        case DOT_CR:
            s->content = INSIDE;
            if (octet == '\n') {
                s->in_message = 0;
                count_message();
                record_message(s);
                reply(s, "250 2.0.0 ok: taken\r\n");
                return at;
            }
        }
    }
    return at;
}

/* Returns 0 when the session is over. */
static int serve(struct session *s)
{
    static char octets[1 << 18];
    ssize_t length = recv(s->fd, octets, sizeof octets, 0);
    char *at = octets, *end = octets + length;
    if (length <= 0)
        return 0;
    while (at && at < end)
        at = s->in_message ? read_message(s, at, end) : read_command(s, at, end);
    if (s->pending && send(s->fd, s->replies, s->pending, MSG_NOSIGNAL) != (ssize_t)s->pending)
        return 0;
    s->pending = 0;
    return at != 0;
}

static void greet(int listener, int poll)
{
    int fd = accept4(listener, 0, 0, SOCK_CLOEXEC), on = 1;
    if (fd < 0)
        return;                         /* a sibling was quicker */
    struct session *s = calloc(1, sizeof *s);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
    if (!s)
        die("sink: memory");
    s->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    counters->sessions++;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) || send(fd, "220 sink ESMTP\r\n", 16, MSG_NOSIGNAL) != 16) {
        close(fd);
        free(s);
    }
}

static void work(int listener)
{
    struct epoll_event events[64], event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = 0 };
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event))
        die("sink: epoll");
    for (;;) {
        int ready = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            struct session *s = events[i].data.ptr;
            if (!s)
                greet(listener, poll);
            else if (!serve(s)) {
                close(s->fd);
                free(s);
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: sink COUNTERS PROCESSES [RECORD]\n");
        return 64;
    }
    if (argc == 4 && (record = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0)
        die(argv[3]);
    int file = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof *counters))
        die(argv[1]);
    counters = mmap(0, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (counters == MAP_FAILED || bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)
        || getsockname(listener, (void *)&address, &length))
        die("sink");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 1; i < atoi(argv[2]); i++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            break;
        }
    work(listener);
}
