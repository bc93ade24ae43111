/*
 * Makes the connections of the lab's scripts, and takes them: the ground truth of tests/estate.
 *
 *   traffic agent NAME SOCKET [PORT ...]
 *       Listens on the ports (IPv4 and IPv6), tells each who connects NAME and closes. Takes
 *       commands on the Unix socket SOCKET, one line a connection, and answers with one line:
 *           connect ADDRESS PORT COUNT HOLD_US     a report, as below
 *           accepted PORT                           how many came to that port
 *   traffic once REPORT ADDRESS PORT COUNT HOLD_US
 *       Makes the connections, writes the report to the file REPORT, ends.
 *
 * ADDRESS may be a name: it is asked for at the first nameserver of /etc/resolv.conf, IPv4 only.
 * A report is one JSON object: how many were attempted, which servers answered how often, how many
 * were refused or failed otherwise, and how many SYNs were sent again (each is one attempt more).
 *
 * Static and in C, because it has to run in a container that holds nothing else; and commands come
 * by a Unix socket, because a connection for them would be on the map.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORTS_MAX 16
#define SERVERS_MAX 8
#define NAME_MAX_BYTES 64
#define LINE_MAX_BYTES 512
/* A SYN is sent again after 1, 3 and 7 s. */
#define CONNECT_MS 10000
#define DNS_MS 3000

struct report {
    char address[INET6_ADDRSTRLEN];
    long attempts, refused, failed, again;
    int servers;
    char names[SERVERS_MAX][NAME_MAX_BYTES];
    long counts[SERVERS_MAX];
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* The first nameserver that is configured; 0 when there is none. */
static int nameserver(struct sockaddr_in *found) {
    char line[256], text[64];
    FILE *file = fopen("/etc/resolv.conf", "r");
    int have = 0;
    while (file && !have && fgets(line, sizeof line, file))
        have = sscanf(line, "nameserver %63s", text) == 1 &&
               inet_pton(AF_INET, text, &found->sin_addr) == 1;
    if (file)
        fclose(file);
    found->sin_family = AF_INET;
    found->sin_port = htons(53);
    return have;
}

/* Past the name at `at`; a pointer ends it (RFC 1035, 4.1.4). */
static size_t past_name(const unsigned char *message, size_t length, size_t at) {
    while (at < length && message[at] != 0) {
        if ((message[at] & 0xc0) == 0xc0)
            return at + 2;
        at += message[at] + 1u;
    }
    return at + 1;
}

/* The first IPv4 address among the answers (RFC 1035, 4.1.3); 0 when there is none. */
static int first_address(const unsigned char *message, size_t length, struct in_addr *found) {
    if (length < 12)
        return 0;
    size_t at = past_name(message, length, 12) + 4;
    for (int left = message[6] << 8 | message[7]; left > 0; left--) {
        at = past_name(message, length, at);
        if (at + 10 > length)
            return 0;
        int type = message[at] << 8 | message[at + 1];
        size_t size = (size_t)(message[at + 8] << 8 | message[at + 9]);
        if (type == 1 && size == 4 && at + 14 <= length) {
            memcpy(found, message + at + 10, 4);
            return 1;
        }
        at += 10 + size;
    }
    return 0;
}

static int resolve(const char *name, struct in_addr *found) {
    struct sockaddr_in server = {0};
    unsigned char message[1500] = {0x1a, 0xb0, 1, 0, 0, 1};
    size_t length = 12;
    if (strlen(name) > 200 || !nameserver(&server))
        return 0;
    for (const char *part = name; *part;) {
        size_t size = strcspn(part, ".");
        message[length++] = (unsigned char)size;
        memcpy(message + length, part, size);
        length += size;
        part += size + (part[size] == '.');
    }
    memcpy(message + length, "\0\0\1\0\1", 5);
    length += 5;
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ok = 0;
    for (int tries = 0; sock >= 0 && !ok && tries < 3; tries++) {
        struct pollfd ready = {.fd = sock, .events = POLLIN};
        if (sendto(sock, message, length, 0, (struct sockaddr *)&server, sizeof server) < 0)
            break;
        if (poll(&ready, 1, DNS_MS) == 1) {
            unsigned char answer[1500];
            ssize_t size = recv(sock, answer, sizeof answer, 0);
            ok = size > 0 && first_address(answer, (size_t)size, found);
        }
    }
    if (sock >= 0)
        close(sock);
    return ok;
}

static socklen_t target(const char *address, int port, struct sockaddr_storage *out) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return sizeof *v6;
    }
    if (inet_pton(AF_INET, address, &v4->sin_addr) != 1 && !resolve(address, &v4->sin_addr))
        return 0;
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return sizeof *v4;
}

static void count_server(struct report *report, const char *name) {
    int i = 0;
    while (i < report->servers && strcmp(report->names[i], name) != 0)
        i++;
    if (i == SERVERS_MAX) {
        report->failed++;
        return;
    }
    if (i == report->servers)
        snprintf(report->names[report->servers++], NAME_MAX_BYTES, "%s", name);
    report->counts[i]++;
}

/* One connection: made, the server's name read to its end, held for a while, closed. */
static void connect_once(struct report *report, const struct sockaddr_storage *to, socklen_t size,
                         long hold_us) {
    char name[NAME_MAX_BYTES] = "";
    size_t have = 0;
    int error = 0;
    socklen_t error_size = sizeof error;
    int sock = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd ready = {.fd = sock, .events = POLLOUT};
    if (sock < 0)
        die("socket");
    report->attempts++;
    if (connect(sock, (const struct sockaddr *)to, size) < 0 && errno != EINPROGRESS)
        error = errno;
    else if (poll(&ready, 1, CONNECT_MS) != 1)
        error = ETIMEDOUT;
    else
        getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &error_size);
    struct tcp_info info = {0};
    socklen_t info_size = sizeof info;
    getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &info_size);
    report->again += info.tcpi_total_retrans;
    ready.events = POLLIN;
    while (!error && have < sizeof name - 1) {
        ssize_t got = poll(&ready, 1, CONNECT_MS) == 1
                          ? recv(sock, name + have, sizeof name - 1 - have, 0)
                          : -1;
        if (got <= 0) {
            error = got < 0 && have == 0 ? ECONNABORTED : 0;
            break;
        }
        have += (size_t)got;
    }
    if (hold_us > 0)
        usleep((useconds_t)hold_us);
    close(sock);
    /* Who closes at once without a name is a proxy that found nobody behind it. */
    if (error == ECONNREFUSED)
        report->refused++;
    else if (error || have == 0)
        report->failed++;
    else
        count_server(report, name);
}

static void connect_all(FILE *out, const char *address, int port, long count, long hold_us) {
    struct report report = {0};
    struct sockaddr_storage to;
    socklen_t size = target(address, port, &to);
    if (size == 0) {
        fprintf(out, "{\"error\": \"no address for %s\"}\n", address);
        return;
    }
    const void *raw = to.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&to)->sin_addr
                                              : (void *)&((struct sockaddr_in6 *)&to)->sin6_addr;
    inet_ntop(to.ss_family, raw, report.address, sizeof report.address);
    for (long i = 0; i < count; i++)
        connect_once(&report, &to, size, hold_us);
    fprintf(out, "{\"address\": \"%s\", \"attempts\": %ld, \"refused\": %ld, \"failed\": %ld, ",
            report.address, report.attempts, report.refused, report.failed);
    fprintf(out, "\"again\": %ld, \"servers\": {", report.again);
    for (int i = 0; i < report.servers; i++)
        fprintf(out, "%s\"%s\": %ld", i ? ", " : "", report.names[i], report.counts[i]);
    fprintf(out, "}}\n");
}

static int listen_on(int port) {
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in here4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, off = 0, sock = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int v6 = sock >= 0 && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
    if (!v6)
        sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(sock, v6 ? (struct sockaddr *)&here : (struct sockaddr *)&here4,
             v6 ? sizeof here : sizeof here4) < 0 ||
        listen(sock, 4096) < 0)
        die("listen");
    return sock;
}

/* One command, answered. A long one in a process of its own, so that others are served. */
static void command(int control, const int *ports, const long *accepted, int count) {
    char line[LINE_MAX_BYTES] = "", address[LINE_MAX_BYTES];
    int port;
    long number, hold_us;
    FILE *stream = fdopen(control, "r+");
    if (!stream)
        die("fdopen");
    if (!fgets(line, sizeof line, stream)) {
        fclose(stream);
        return;
    }
    if (sscanf(line, "connect %511s %d %ld %ld", address, &port, &number, &hold_us) == 4) {
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            connect_all(stream, address, port, number, hold_us);
            fclose(stream);
            _exit(0);
        }
    } else if (sscanf(line, "accepted %d", &port) == 1) {
        for (int i = 0; i < count; i++)
            if (ports[i] == port)
                fprintf(stream, "%ld\n", accepted[i]);
    } else {
        fprintf(stream, "{\"error\": \"unknown command\"}\n");
    }
    fclose(stream);
}

static void agent(const char *name, const char *path, int count, char **texts) {
    struct pollfd ready[PORTS_MAX + 1];
    int ports[PORTS_MAX];
    long accepted[PORTS_MAX] = {0};
    struct sockaddr_un here = {.sun_family = AF_UNIX};
    if (count > PORTS_MAX || strlen(path) >= sizeof here.sun_path) {
        fprintf(stderr, "too many ports, or too long a path\n");
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        ports[i] = atoi(texts[i]);
        ready[i] = (struct pollfd){.fd = listen_on(ports[i]), .events = POLLIN};
    }
    /* The socket last: once it is there, the ports are. */
    int control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(here.sun_path, sizeof here.sun_path, "%s.partial", path);
    unlink(here.sun_path);
    if (bind(control, (struct sockaddr *)&here, sizeof here) < 0 || listen(control, 64) < 0 ||
        rename(here.sun_path, path) < 0)
        die(path);
    ready[count] = (struct pollfd){.fd = control, .events = POLLIN};
    while (poll(ready, (nfds_t)count + 1, -1) > 0 || errno == EINTR) {
        for (int i = 0; i <= count; i++) {
            if (!(ready[i].revents & POLLIN))
                continue;
            int sock = accept4(ready[i].fd, NULL, NULL, SOCK_CLOEXEC);
            if (sock < 0)
                continue;
            if (i == count) {
                command(sock, ports, accepted, count);
                continue;
            }
            accepted[i]++;
            if (send(sock, name, strlen(name), MSG_NOSIGNAL) < 0)
                perror("send");
            close(sock);
        }
    }
}

static void end(int number) {
    (void)number;
    _exit(0);
}

int main(int argc, char **argv) {
    /* As the first process of a container it would ignore SIGTERM, and outlive its engine. */
    signal(SIGTERM, end);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc >= 4 && strcmp(argv[1], "agent") == 0) {
        agent(argv[2], argv[3], argc - 4, argv + 4);
    } else if (argc == 7 && strcmp(argv[1], "once") == 0) {
        FILE *out = fopen(argv[2], "w");
        if (!out)
            die(argv[2]);
        connect_all(out, argv[3], atoi(argv[4]), atol(argv[5]), atol(argv[6]));
        fclose(out);
        return 0;
    }
    fprintf(stderr, "see the head of traffic.c\n");
    return 2;
}
