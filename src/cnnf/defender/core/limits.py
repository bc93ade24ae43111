"""The Defender's bounds, each with its arithmetic and what happens there."""

#: Packets that may wait in one NFQUEUE. 16,384 SYNs are most of a second at 20,000 a second; beyond
#: it the kernel lets packets through unjudged (fail open) and we count them.
QUEUE_LENGTH_MAX = 16_384

#: Bytes of each packet to copy: IPv6 with 400 bytes of extension headers still shows its ports.
PACKET_COPY_BYTES = 512

#: Receive buffer of a queue: 16,384 packets of ~1.5 KiB with the kernel's own overhead.
QUEUE_BUFFER_BYTES = 32 * 1024 * 1024

#: Elements of each set of remembered and counted flows; at 64 bytes each 8 MB a set. A full set
#: means that further flows are answered by the loop each time.
SET_ELEMENTS_MAX = 131_072

#: Deepest cgroup that flows are remembered for; a deeper one is answered by the loop each time.
CGROUP_LEVELS = 6

#: Packets the loop reads before it answers: bounds how long the first of a burst waits (~1 ms).
LOOP_BURST_MAX = 64

#: Distinct flows a loop holds between two reports; at the bound it reports at once.
LOOP_FLOWS_MAX = 8_192

#: Flows in one datagram from loop to daemon: ~60 bytes each, well under the 208 KiB socket buffer.
REPORT_FLOWS_MAX = 500

#: How long a loop keeps counts before it reports them, and the least time between two reports.
REPORT_INTERVAL_MS = 250
REPORT_SPACING_MS = 20

#: A SYN from a cgroup that tells no service is held until the daemon has found its process, which
#: takes a millisecond: a client that lives two milliseconds is gone otherwise. At most so long, and
#: at most so often a second, so that a flood of such connections loses 5 % of its rate at worst.
HOLD_MS = 4
HOLDS_PER_SECOND_MAX = 50

#: Logged SYNs a second that are handed over one by one; at 0.2 ms each 4 % of a core.
LOG_AT_ONCE_PER_SECOND = 200

#: Least time between two switches because an address got another owner: starting a hundred
#: containers is then ten switches of ~40 ms, not a hundred.
OWNER_SWITCH_SPACING_SECONDS = 0.5

#: Seconds between two generations, and the longest (docs: "at least once a minute").
SWITCH_INTERVAL_SECONDS = 10.0
SWITCH_INTERVAL_SECONDS_MAX = 60.0

#: Flows kept for the next batch; ~400 bytes each. Beyond it new flows are dropped and counted.
PENDING_FLOWS_MAX = 50_000

#: How long a flow to this host waits for its listener to be seen: a service that has just started.
LISTENER_WAIT_MS = 400

#: How long a flow waits for discovery to name a container address before it is sent with the
#: address alone. Docker announces a container before its first process runs, within ~50 ms.
NAME_WAIT_MS = 1_500

#: How long an address still belongs to a container that has gone: reports lag behind the packets
#: by a report interval and the time to read a set.
ADDRESS_LINGER_MS = 5_000

#: Former owners kept for one address.
ADDRESS_OWNERS_MAX = 4

#: Instances of host services known at once; more are drawn as the host itself.
SERVICES_MAX = 2_000

#: Batches kept while the Console is away, and seconds between two batches when there is news.
OUTBOX_BATCHES_MAX = 2_000
BATCH_INTERVAL_SECONDS = 0.4
#: A Defender with nothing to say still says that it lives.
HEARTBEAT_SECONDS = 10.0

#: Seconds between looks at which services run.
SERVICES_INTERVAL_SECONDS = 5.0

#: A dump that was interrupted by somebody's change is read again, whole, at most so often. A change
#: every second and dumps of 0.9 s (100,000 elements) leave one in ten whole; ten such tries are 9 s,
#: less than the time between two generations.
DUMP_TRIES_MAX = 10

#: Changes to the firewall that wait to be told, and how long they wait for our own programs' pids
#: to be known: a program is known within a millisecond of its start. Beyond the bound what follows
#: is told as one change that nobody is named for.
RULESET_CHANGES_MAX = 256
RULESET_SETTLE_MS = 20

#: What a cut tells one by one (failures, connections that only pass); the rest is counted. A rule
#: cuts a handful as a rule, and a sentence each is all a person reads.
CUT_SHOWN_MAX = 100
