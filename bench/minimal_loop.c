/*
 * The measure of first-seen flows: the least that answers an NFQUEUE and has its answers remembered.
 *
 *   minimal_loop --queue N --mark M
 *       Answers queue N with ACCEPT and the mark M until killed. Prints "ready" once it is bound.
 *
 * It judges nothing, counts nothing and tells nobody: what bench/minimal.py puts around it, an nft
 * set of known flows filled by that mark, is the whole firewall. One process a queue. Two system
 * calls for whatever is waiting: recvmmsg() takes all of it and one send answers all of it, in a
 * single batch verdict, as every packet gets the same mark here (nfnetlink_queue.c,
 * nfqnl_recv_verdict_batch: the verdict and the mark are applied to all packets up to an id).
 *
 * Raw netlink after linux/netfilter/nfnetlink_queue.h; no library between it and the kernel.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Headers of a SYN with all its options, as anything that judges has to read them. */
#define COPY_BYTES 128
#define MESSAGE_BYTES 1024
/* What is answered at once; the first of them waits while the others are read. */
#define BURST_MAX 64
#define QUEUE_LENGTH 16384
#define BUFFER_BYTES (32 * 1024 * 1024)
/* The same as the Defender's packet loops, so that the scheduler treats both alike. */
#define NICE (-15)

static int netlink;
static uint16_t queue;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "minimal_loop: queue %u: %s: %s\n", queue, what, strerror(errno));
    exit(1);
}

static struct nlmsghdr *begin(void *buffer, int type, int flags)
{
    struct nlmsghdr *header = buffer;
    memset(header, 0, NLMSG_HDRLEN + sizeof(struct nfgenmsg));
    header->nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg));
    header->nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type;
    header->nlmsg_flags = NLM_F_REQUEST | flags;
    struct nfgenmsg *generic = NLMSG_DATA(header);
    generic->res_id = htons(queue);
    return header;
}

static void attach(struct nlmsghdr *header, int type, const void *data, size_t length)
{
    struct nlattr *attribute = (void *)((char *)header + NLMSG_ALIGN(header->nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + length;
    memset((char *)attribute + NLA_HDRLEN, 0, NLA_ALIGN(length));
    memcpy((char *)attribute + NLA_HDRLEN, data, length);
    header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

static void request(struct nlmsghdr *header, const char *what)
{
    char answer[MESSAGE_BYTES];
    if (send(netlink, header, header->nlmsg_len, 0) < 0 ||
        recv(netlink, answer, sizeof answer, 0) < 0)
        fail(what);
    struct nlmsghdr *reply = (void *)answer;
    if (reply->nlmsg_type == NLMSG_ERROR) {
        errno = -((struct nlmsgerr *)NLMSG_DATA(reply))->error;
        if (errno != 0)
            fail(what);
    }
}

static void bind_queue(void)
{
    char buffer[MESSAGE_BYTES];
    int on = 1, size = BUFFER_BYTES;
    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (netlink < 0)
        fail("socket");
    setsockopt(netlink, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(netlink, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);

    struct nlmsghdr *header = begin(buffer, NFQNL_MSG_CONFIG, NLM_F_ACK);
    struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
    attach(header, NFQA_CFG_CMD, &command, sizeof command);
    request(header, "binding");

    header = begin(buffer, NFQNL_MSG_CONFIG, NLM_F_ACK);
    struct nfqnl_msg_config_params params = {.copy_range = htonl(COPY_BYTES),
                                             .copy_mode = NFQNL_COPY_PACKET};
    uint32_t length = htonl(QUEUE_LENGTH), flags = htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO);
    attach(header, NFQA_CFG_PARAMS, &params, sizeof params);
    attach(header, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
    attach(header, NFQA_CFG_MASK, &flags, sizeof flags);
    attach(header, NFQA_CFG_FLAGS, &flags, sizeof flags);
    request(header, "configuring");
}

/* The packet's id in network byte order; 0 in a message that is no packet: ids start at 1. */
static uint32_t packet_id(const struct nlmsghdr *header)
{
    if (header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
        return 0;
    /* nfqnl_build_packet_message puts the packet's header first. */
    const struct nlattr *attribute =
        (void *)((char *)NLMSG_DATA(header) + NLMSG_ALIGN(sizeof(struct nfgenmsg)));
    if ((attribute->nla_type & NLA_TYPE_MASK) != NFQA_PACKET_HDR)
        return 0;
    return ((struct nfqnl_msg_packet_hdr *)((char *)attribute + NLA_HDRLEN))->packet_id;
}

static _Noreturn void answer(uint32_t mark)
{
    static char messages[BURST_MAX][MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct iovec parts[BURST_MAX];
    struct mmsghdr burst[BURST_MAX];
    memset(burst, 0, sizeof burst);
    for (int i = 0; i < BURST_MAX; i++) {
        parts[i] = (struct iovec){.iov_base = messages[i], .iov_len = MESSAGE_BYTES};
        burst[i].msg_hdr.msg_iov = &parts[i];
        burst[i].msg_hdr.msg_iovlen = 1;
    }
    uint32_t network_mark = htonl(mark);
    for (;;) {
        int count = recvmmsg(netlink, burst, BURST_MAX, MSG_WAITFORONE, NULL);
        if (count < 0) {
            if (errno == EINTR || errno == ENOBUFS)
                continue;
            fail("recvmmsg");
        }
        uint32_t last = 0;
        for (int i = 0; i < count; i++) {
            uint32_t id = packet_id((struct nlmsghdr *)messages[i]);
            if (id != 0)
                last = id;
        }
        if (last == 0)
            continue;
        char buffer[MESSAGE_BYTES];
        struct nlmsghdr *header = begin(buffer, NFQNL_MSG_VERDICT_BATCH, 0);
        struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_ACCEPT), .id = last};
        attach(header, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
        attach(header, NFQA_MARK, &network_mark, sizeof network_mark);
        if (send(netlink, header, header->nlmsg_len, 0) < 0)
            fail("send");
    }
}

int main(int count, char **words)
{
    if (count != 5 || strcmp(words[1], "--queue") != 0 || strcmp(words[3], "--mark") != 0) {
        fputs("usage: minimal_loop --queue N --mark M\n", stderr);
        return 2;
    }
    queue = (uint16_t)strtoul(words[2], NULL, 0);
    setpriority(PRIO_PROCESS, 0, NICE);
    bind_queue();
    puts("ready");
    fflush(stdout);
    answer((uint32_t)strtoul(words[4], NULL, 0));
}
