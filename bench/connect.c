/*
 * Opens TCP connections and says how long each took; and the server for them.
 *
 *   connect serve --port P --ports N
 *       Listens on N ports from P on, over IPv4 and IPv6, accepts and closes. Prints "ready" once it
 *       listens.
 *
 *   connect load --address A --port P --in-flight C --seconds S
 *                [--addresses N] [--ports N] [--offset K] [--connections MAX] [--rate R]
 *                [--cgroup DIRECTORY] [--failures MAX] [--last N]
 *       Keeps C connections in flight, for S seconds, MAX connections or until SIGTERM, whichever is
 *       first; with --rate begins at most R a second.
 *       The i-th goes to flow K + i of the addresses times ports; without these, all go to one.
 *       With --cgroup the process first moves there. Prints one JSON object.
 *       Ends after MAX failures; with --last tells when the last N that came to stand were begun.
 *
 * A connection is closed by RST as soon as it stands (SO_LINGER 0): nothing is left in TIME_WAIT,
 * so ports never run out. The latency is from just before connect() until epoll tells us of the
 * answer; with many in flight it holds the time in which others were served.
 *
 * C, because at 20,000 connections a second an interpreter would measure itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 1024
#define LISTENERS_MAX 1024
/* Latencies that are kept: 16 MB; a run that reaches it ends. */
#define CONNECTIONS_MAX 4000000L
#define EVENTS_MAX 256
#define LAST_MAX 65536
#define BACKLOG 4096
/* More than this is no measurement any more, unless it is said to be. */
#define FAILURES 1000L
/* What is in flight when the time is over may take so long: a lost SYN is sent again after 1 s. */
#define DRAIN_NS 3000000000LL
#define SECOND_NS 1000000000LL

struct options {
    const char *address, *cgroup;
    long addresses, port, ports, in_flight, connections, rate, failures, last;
    uint64_t offset;
    double seconds;
};

struct slot {
    int descriptor;
    int64_t started_ns;
};

static struct options options = {
    .addresses = 1, .ports = 1, .in_flight = 1, .connections = CONNECTIONS_MAX, .failures = FAILURES,
    .seconds = 1.0};
static struct slot slots[IN_FLIGHT_MAX];
static uint32_t *latencies_ns;
/* A ring of wall-clock times, with --last. */
static int64_t last_begun_ns[LAST_MAX];
static long established, failures, in_flight;
static uint64_t begun;
static int first_error, poller;
static int64_t start_ns, end_ns;
static volatile sig_atomic_t told_to_end;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("connect: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static int64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit = {.rlim_cur = 16384, .rlim_max = 16384};
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- load */

static void enter_cgroup(const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cgroup.procs", directory);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "0", 1) != 1)
        fail("%s: %s", path, strerror(errno));
    close(file);
}

static void set_linger_zero(int descriptor)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void finish(struct slot *slot, int error)
{
    if (error == 0) {
        int64_t took_ns = now_ns() - slot->started_ns;
        if (options.last > 0)
            last_begun_ns[established % options.last] = wall_ns() - took_ns;
        latencies_ns[established++] = took_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ns;
    } else {
        failures++;
        if (first_error == 0)
            first_error = error;
    }
    close(slot->descriptor);
    slot->descriptor = -1;
    in_flight--;
}

static int may_begin(void)
{
    return begun < (uint64_t)options.connections && failures < options.failures && !told_to_end &&
           now_ns() < end_ns;
}

static void wait_for_turn(void)
{
    int64_t due_ns = start_ns + (int64_t)(begun * (uint64_t)SECOND_NS / (uint64_t)options.rate);
    struct timespec due = {.tv_sec = due_ns / SECOND_NS, .tv_nsec = due_ns % SECOND_NS};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void end(int number)
{
    (void)number;
    told_to_end = 1;
}

/* The first address of the target, port and all, in the form that connect() takes. */
union target {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union target first_target(void)
{
    union target to;
    memset(&to, 0, sizeof to);
    if (options.address != NULL && inet_pton(AF_INET, options.address, &to.v4.sin_addr) == 1)
        to.any.sa_family = AF_INET;
    else if (options.address != NULL && inet_pton(AF_INET6, options.address, &to.v6.sin6_addr) == 1)
        to.any.sa_family = AF_INET6;
    else
        fail("--address: an IPv4 or IPv6 address is needed");
    return to;
}

/* A flow of the addresses times ports; an address's last 32 bits are counted up. */
static union target target_of(const union target *first, uint64_t flow)
{
    union target to = *first;
    flow %= (uint64_t)options.addresses * (uint64_t)options.ports;
    uint32_t further = (uint32_t)(flow % (uint64_t)options.addresses);
    in_port_t port = htons((uint16_t)(options.port + (long)(flow / (uint64_t)options.addresses)));
    if (to.any.sa_family == AF_INET) {
        to.v4.sin_addr.s_addr = htonl(ntohl(to.v4.sin_addr.s_addr) + further);
        to.v4.sin_port = port;
    } else {
        uint32_t *last = &to.v6.sin6_addr.s6_addr32[3];
        *last = htonl(ntohl(*last) + further);
        to.v6.sin6_port = port;
    }
    return to;
}

/* Begin connections on this slot until one is in flight, or none may begin any more. */
static void begin(struct slot *slot, const union target *first)
{
    while (may_begin()) {
        if (options.rate > 0)
            wait_for_turn();
        union target to = target_of(first, options.offset + begun++);
        slot->descriptor = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (slot->descriptor < 0)
            fail("socket: %s", strerror(errno));
        set_linger_zero(slot->descriptor);
        in_flight++;
        slot->started_ns = now_ns();
        if (connect(slot->descriptor, &to.any,
                    to.any.sa_family == AF_INET ? sizeof to.v4 : sizeof to.v6) == 0) {
            finish(slot, 0);
            continue;
        }
        if (errno != EINPROGRESS) {
            finish(slot, errno);
            continue;
        }
        struct epoll_event event = {.events = EPOLLOUT, .data.u32 = (uint32_t)(slot - slots)};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, slot->descriptor, &event) != 0)
            fail("epoll_ctl: %s", strerror(errno));
        return;
    }
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* The nearest-rank quantile in microseconds; latencies are sorted. */
static double quantile_us(double share)
{
    if (established == 0)
        return 0.0;
    long rank = (long)(share * (double)established);
    return latencies_ns[rank < established ? rank : established - 1] / 1e3;
}

static void print_result(int64_t took_ns)
{
    qsort(latencies_ns, (size_t)established, sizeof *latencies_ns, compare);
    printf("{\"connections\": %ld, \"seconds\": %.6f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"max_us\": %.2f, \"failures\": %ld, \"error\": \"%s\", \"last_begun_ns\": [",
           established, (double)took_ns / 1e9, quantile_us(0.50), quantile_us(0.99),
           quantile_us(1.0), failures, first_error ? strerror(first_error) : "");
    long told = established < options.last ? established : options.last;
    for (long i = 0; i < told; i++)
        printf("%s%lld", i > 0 ? ", " : "",
               (long long)last_begun_ns[(established - told + i) % options.last]);
    puts("]}");
}

static int load(void)
{
    union target first = first_target();
    if (options.in_flight < 1 || options.in_flight > IN_FLIGHT_MAX)
        fail("--in-flight: 1 to %d", IN_FLIGHT_MAX);
    if (options.connections < 1 || options.connections > CONNECTIONS_MAX)
        fail("--connections: 1 to %ld", CONNECTIONS_MAX);
    if (options.seconds <= 0.0 || options.seconds > 3600.0)
        fail("--seconds: more than 0, at most 3600");
    raise_descriptor_limit();
    if (options.cgroup != NULL)
        enter_cgroup(options.cgroup);
    latencies_ns = malloc((size_t)options.connections * sizeof *latencies_ns);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (latencies_ns == NULL || poller < 0)
        fail("%s", strerror(errno));

    signal(SIGTERM, end);
    start_ns = now_ns();
    end_ns = start_ns + (int64_t)(options.seconds * 1e9);
    for (long i = 0; i < options.in_flight; i++)
        begin(&slots[i], &first);
    int64_t drained_ns = end_ns + DRAIN_NS;
    while (in_flight > 0 && now_ns() < drained_ns) {
        if (told_to_end && drained_ns > now_ns() + DRAIN_NS)
            drained_ns = now_ns() + DRAIN_NS;
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(poller, events, EVENTS_MAX, 100);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            struct slot *slot = &slots[events[i].data.u32];
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(slot->descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
            finish(slot, error);
            begin(slot, &first);
        }
    }
    int64_t took_ns = now_ns() - start_ns;
    if (in_flight > 0) {
        failures += in_flight;
        if (first_error == 0)
            first_error = ETIMEDOUT;
    }
    print_result(took_ns);
    return 0;
}

/* --- serve */

static void listen_at(const struct sockaddr *at, socklen_t size)
{
    int listener = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->sa_family == AF_INET6)
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(listener, at, size) != 0 || listen(listener, BACKLOG) != 0)
        fail("port %u: %s", ntohs(((const struct sockaddr_in *)at)->sin_port), strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static _Noreturn void serve(void)
{
    if (options.ports < 1 || options.ports > LISTENERS_MAX)
        fail("--ports: 1 to %d", LISTENERS_MAX);
    raise_descriptor_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (long port = options.port; port < options.port + options.ports; port++) {
        /* One for each, as IPv4 over an IPv6 socket takes a longer way. */
        union target at = {.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
        listen_at(&at.any, sizeof at.v4);
        at = (union target){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
        listen_at(&at.any, sizeof at.v6);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(poller, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            int accepted;
            /* An orderly close: by RST the client would often hear of that before of the rest. */
            while ((accepted = accept4(events[i].data.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
                close(accepted);
        }
    }
}

/* --- command line */

static long whole(const char *name, const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < least || value > most)
        fail("--%s: %s is no whole number from %ld to %ld", name, text, least, most);
    return value;
}

static void parse(int count, char **words)
{
    static const struct option known[] = {
        {"address", required_argument, NULL, 'a'},   {"addresses", required_argument, NULL, 'A'},
        {"port", required_argument, NULL, 'p'},      {"ports", required_argument, NULL, 'P'},
        {"offset", required_argument, NULL, 'o'},    {"in-flight", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 's'},   {"connections", required_argument, NULL, 'n'},
        {"cgroup", required_argument, NULL, 'g'},    {"rate", required_argument, NULL, 'r'},
        {"failures", required_argument, NULL, 'F'},  {"last", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(count, words, "", known, NULL)) != -1) {
        switch (letter) {
        case 'a': options.address = optarg; break;
        case 'A': options.addresses = whole("addresses", optarg, 1, 1L << 24); break;
        case 'p': options.port = whole("port", optarg, 1, 65535); break;
        case 'P': options.ports = whole("ports", optarg, 1, 65535); break;
        case 'o': options.offset = (uint64_t)whole("offset", optarg, 0, 1L << 60); break;
        case 'f': options.in_flight = whole("in-flight", optarg, 1, IN_FLIGHT_MAX); break;
        case 's': options.seconds = atof(optarg); break;
        case 'n': options.connections = whole("connections", optarg, 1, CONNECTIONS_MAX); break;
        case 'g': options.cgroup = optarg; break;
        case 'r': options.rate = whole("rate", optarg, 1, 1000000); break;
        case 'F': options.failures = whole("failures", optarg, 1, CONNECTIONS_MAX); break;
        case 'l': options.last = whole("last", optarg, 0, LAST_MAX); break;
        default: exit(2);
        }
    }
    if (options.port < 1 || options.port + options.ports - 1 > 65535)
        fail("--port and --ports: ports are 1 to 65535");
}

int main(int count, char **words)
{
    if (count < 2)
        fail("serve or load?");
    parse(count - 1, words + 1);
    if (strcmp(words[1], "serve") == 0)
        serve();
    if (strcmp(words[1], "load") == 0)
        return load();
    fail("%s: serve or load?", words[1]);
}
