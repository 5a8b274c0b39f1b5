// SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
/* An SMTP server that takes all mail and throws it away, so cheaply that it is never what a measurement waits for.
 *
 *     sink [-p PORT] [-d MS] [-c] [-r RECORD] COUNTERS PROCESSES
 *
 * It listens on a free port of 127.0.0.1, or at PORT of all addresses, prints "PORT\n" when it is ready, and ends with
 * its parent. COUNTERS is a file that becomes a shared mapping of struct counters, for whoever measures. A message is
 * counted when the reply to its final dot or last chunk is made; then, too, its RCPT commands are appended to RECORD,
 * in one write. It offers PIPELINING, SIZE and 8BITMIME; -c: CHUNKING, too. -d: each reply is so many milliseconds
 * late. It trusts its clients: what they say is not checked but for where a line ends, and replies are short enough to
 * go into the socket's buffer at once.
 *
 * What it is like depends on the address that it was found at: at 127.0.10.* it says nothing at all; at 127.0.11.* no
 * more from MAIL on, at 127.0.12.* from DATA on, at 127.0.13.* once it has the content; at all others it is well.
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

struct counters {                       /* sink.py reads them as "=5Q" */
    _Atomic uint64_t messages, sessions;
    _Atomic uint64_t first, last;       /* CLOCK_MONOTONIC, ns, of the first and the last message */
    _Atomic uint64_t spoken_to;         /* and of the first octet of all */
};

/* The third number of the address, from where on it says no more. */
enum { SILENT = 10, FROM_MAIL, FROM_DATA, FROM_CONTENT };

/* What the last octets of the message were; LINE: CRLF, as also in front of the first one. */
enum content { INSIDE, CR, LINE, DOT, DOT_CR };

struct session {
    int fd;
    int mood;                           /* the third number of the address that it was found at */
    int mute;
    int late;                           /* replies that are yet to be sent */
    int ended;
    int in_message;
    int in_chunk, last_chunk;
    uint64_t left;                      /* octets of the chunk */
    enum content content;
    size_t length;                      /* of the command so far */
    char command[2048];                 /* what is longer is cut: only the verb counts */
    size_t pending;
    char replies[4096];
    size_t named;
    char recipients[4096];              /* the RCPT commands of this message; for RECORD only */
};

struct late_reply {
    uint64_t due;
    struct session *session;
    int bye;
    size_t length;
    struct late_reply *next;
    char text[];
};

static struct counters *counters;
static struct late_reply *earliest, **behind_latest = &earliest;
static int record = -1;
static int chunking;
static uint64_t delay;                  /* ns */

static void die(const char *what) { perror(what); exit(1); }

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void end(struct session *s)
{
    if (!s->ended)
        close(s->fd);
    s->ended = 1;
    if (!s->late)
        free(s);
}

static void send_later(struct session *s, int bye)
{
    struct late_reply *later = malloc(sizeof *later + s->pending);
    if (!later)
        die("sink: memory");
    *later = (struct late_reply){ .due = now() + delay, .session = s, .bye = bye, .length = s->pending };
    memcpy(later->text, s->replies, s->pending);
    *behind_latest = later;
    behind_latest = &later->next;
    s->late++;
}

/* Milliseconds until it is to be called again, -1: for as long as nothing happens. */
static int send_what_is_due(void)
{
    while (earliest) {
        struct late_reply *it = earliest;
        struct session *s = it->session;
        uint64_t time = now();
        if (it->due > time)
            return (it->due - time) / 1000000 + 1;
        if (!(earliest = it->next))
            behind_latest = &earliest;
        s->late--;
        int gone = s->ended || send(s->fd, it->text, it->length, MSG_NOSIGNAL) != (ssize_t)it->length;
        if (gone || it->bye)
            end(s);
        free(it);
    }
    return -1;
}

/* Returns 0 when the session is over. */
static int flush(struct session *s, int bye)
{
    int well = 1;
    if (delay && s->pending)
        send_later(s, bye);
    else if (s->pending)
        well = send(s->fd, s->replies, s->pending, MSG_NOSIGNAL) == (ssize_t)s->pending && !bye;
    s->pending = 0;
    return well;
}

static void reply(struct session *s, const char *text)
{
    size_t length = strlen(text);
    if (s->pending + length > sizeof s->replies)        /* a long pipeline */
        flush(s, 0);
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

static void take_message(struct session *s)
{
    uint64_t nobody = 0, time = now();
    if ((s->mute = s->mood == FROM_CONTENT))
        return;
    atomic_compare_exchange_strong(&counters->first, &nobody, time);
    counters->last = time;
    counters->messages++;
    record_message(s);
    reply(s, "250 2.0.0 ok: taken\r\n");
}

static void begin_chunk(struct session *s)
{
    s->left = strtoull(s->command + 4, 0, 10);
    s->last_chunk = strcasestr(s->command, "LAST") != 0;
    s->in_chunk = 1;
}

/* What is behind the chunk, or as much of it as there is. */
static char *read_chunk(struct session *s, char *at, char *end)
{
    uint64_t there = end - at, part = there < s->left ? there : s->left;
    s->left -= part;
    if (!s->left) {
        s->in_chunk = 0;
        if (s->last_chunk)
            take_message(s);
        else
            reply(s, "250 2.0.0 ok: more\r\n");
    }
    return at + part;
}

/* Returns 0 when the session is over. */
static int obey(struct session *s)
{
    static const char offer[] = "250-sink\r\n250-PIPELINING\r\n250-SIZE 1000000000\r\n";
    if (!strncasecmp(s->command, "QUIT", 4)) { reply(s, "221 2.0.0 bye\r\n"); return 0; }
    if (!strncasecmp(s->command, "EHLO", 4)) {
        reply(s, offer);
        reply(s, chunking ? "250-8BITMIME\r\n250 CHUNKING\r\n" : "250 8BITMIME\r\n");
        return 1;
    }
    if (!strncasecmp(s->command, "BDAT", 4)) { begin_chunk(s); return 1; }
    if (!strncasecmp(s->command, s->mood == FROM_MAIL ? "MAIL" : s->mood == FROM_DATA ? "DATA" : "\n", 4)) {
        s->mute = 1;
        return 1;
    }
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
                take_message(s);
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
    uint64_t nobody = 0;
    if (length <= 0)
        return 0;
    if (!counters->spoken_to)
        atomic_compare_exchange_strong(&counters->spoken_to, &nobody, now());
    while (at && !s->mute && (at < end || (s->in_chunk && !s->left)))
        at = s->in_message ? read_message(s, at, end) : s->in_chunk ? read_chunk(s, at, end) : read_command(s, at, end);
    return flush(s, !at);
}

/* The third number of the address that the peer has found us at. */
static int mood(int fd)
{
    struct sockaddr_in address = { 0 };
    socklen_t length = sizeof address;
    getsockname(fd, (void *)&address, &length);
    return ntohl(address.sin_addr.s_addr) >> 8 & 0xff;
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
    s->mood = mood(fd);
    s->mute = s->mood == SILENT;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    counters->sessions++;
    if (!s->mute)
        reply(s, "220 sink ESMTP\r\n");
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) || !flush(s, 0))
        end(s);
}

static void work(int listener)
{
    struct epoll_event events[64], event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = 0 };
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event))
        die("sink: epoll");
    for (;;) {
        int ready = epoll_wait(poll, events, 64, send_what_is_due());
        for (int i = 0; i < ready; i++) {
            struct session *s = events[i].data.ptr;
            if (!s)
                greet(listener, poll);
            else if (!serve(s))
                end(s);
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int option;
    while ((option = getopt(argc, argv, "p:d:cr:")) != -1)
        switch (option) {
        case 'p': address.sin_port = htons(atoi(optarg)); address.sin_addr.s_addr = htonl(INADDR_ANY); break;
        case 'd': delay = strtoull(optarg, 0, 10) * 1000000; break;
        case 'c': chunking = 1; break;
        case 'r':
            if ((record = open(optarg, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0)
                die(optarg);
            break;
        default: return 64;
        }
    if (argc - optind != 2) {
        fprintf(stderr, "usage: sink [-p PORT] [-d MS] [-c] [-r RECORD] COUNTERS PROCESSES\n");
        return 64;
    }
    const char *mapping = argv[optind], *processes = argv[optind + 1];
    int file = open(mapping, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof *counters))
        die(mapping);
    counters = mmap(0, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (counters == MAP_FAILED || bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)
        || getsockname(listener, (void *)&address, &length))
        die("sink");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 1; i < atoi(processes); i++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            break;
        }
    work(listener);
}
