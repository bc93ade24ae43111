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
#: The levels that are looked at before a deeper one is seen to name a service: every one more costs
#: each connection of the host's a comparison. `system.slice/NAME.service` is level 2, a session's
#: scope level 3.
CGROUP_LEVELS_FIRST = 3

#: Packets the loop reads before it answers: bounds how long the first of a burst waits (~1 ms).
LOOP_BURST_MAX = 64

#: Bytes of one message of a queue: 512 of the packet and at most ~300 of attributes about it.
PACKET_MESSAGE_BYTES = 2_048

#: Distinct flows a loop holds between two reports; at the bound it reports at once.
LOOP_FLOWS_MAX = 8_192

#: Flows in one datagram from loop to daemon: ~60 bytes each, well under the 208 KiB socket buffer.
REPORT_FLOWS_MAX = 500

#: How long a loop keeps counts before it reports them, and the least time between two reports.
REPORT_INTERVAL_MS = 250
REPORT_SPACING_MS = 20

#: How often a loop says at least that it lives: the watchdog wants it every 500 ms.
PULSE_INTERVAL_MS = 400

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

#: Flows kept for the next batch; ~400 bytes each. Beyond it new flows are dropped and counted.
PENDING_FLOWS_MAX = 50_000

#: The share of a core that naming flows takes while they can wait, and the longest pause for it. A
#: burst of 8,000 new flows, 0.2 s of work, is on Radar within a second, and the connections that
#: make it keep their cores; a hundred flows a second, 2.5 ms, are named at once.
NAMING_SHARE = 0.2
NAMING_PAUSE_SECONDS_MAX = 0.5

#: How long a flow to this host waits for its listener to be seen: a service that has just started.
LISTENER_WAIT_MS = 400

#: How long a flow waits for discovery to name a container address before it is sent with the
#: address alone. Docker announces a container before its first process runs, within ~50 ms.
NAME_WAIT_MS = 1_500

#: How long an address still belongs to a container that has gone: reports lag behind the packets
#: by a report interval and the time to read a set.
ADDRESS_LINGER_MS = 5_000

#: Addresses whose text, or whose network, is remembered; ~150 bytes each.
ADDRESSES_REMEMBERED_MAX = 50_000

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

#: Decisions a judge keeps, by whom the ends may be: ~50 bytes each in the native loop, which stays
#: within a processor's cache, ~200 in Python. At the bound the native one replaces the one that has
#: the same place, the other starts anew; either costs an evaluation (0.2 and some µs) for each.
JUDGE_CACHE_MAX = 8_192

#: How long a SYN from or to a container that discovery has not told of yet is held, where a rule
#: could matter to it: Docker announces a container within ~50 ms. Longer, and the client's own
#: retry after 1 s would come to a queue that is still full of the first ones.
CONTAINER_WAIT_MS = 300

#: Packets held at once, for whatever reason; ~700 bytes each. Beyond it they are judged by what is
#: known, or dropped when failing closed.
HELD_PACKETS_MAX = 1_024

#: While host rules are in force, who sends decides whether a SYN may pass: hold it longer and more
#: often than for a mere name.
HOLD_FOR_RULES_MS = 50
HOLDS_FOR_RULES_PER_SECOND_MAX = 1_000

#: A dump that was interrupted by somebody's change is read again, whole, at most so often. A
#: change every second and dumps of 0.9 s (100,000 elements) leave one in ten whole; ten such tries
#: are 9 s, less than the time between two generations.
DUMP_TRIES_MAX = 10

#: Changes to the firewall that wait to be told, and how long they wait for our own programs' pids
#: to be known: a program is known within a millisecond of its start. Beyond the bound what follows
#: is told as one change that nobody is named for.
RULESET_CHANGES_MAX = 256
RULESET_SETTLE_MS = 20

#: What a cut tells one by one (failures, connections that only pass); the rest is counted. A rule
#: cuts a handful as a rule, and a sentence each is all a person reads.
CUT_SHOWN_MAX = 100

#: Versions of the tables whose rules can still be named: loops report within a quarter of a second,
#: and the tables change with the policy or the mode, not with every container.
TABLES_REMEMBERED_MAX = 8

#: Decisions of rules about flows that the kernel remembers; ~300 bytes each. Beyond it the oldest
#: are forgotten: what the kernel counts for them is then told without its cause.
DECISIONS_KEPT_MAX = 50_000

#: Flows that were asked about more or less often than the loops have told of yet; ~200 bytes each.
#: Beyond it no more are kept: what a dead loop missed of those makes no edge.
MISSED_FLOWS_MAX = 50_000

#: Flows whose answers are still to be told apart by who asked; ~300 bytes each. Beyond it the
#: oldest are forgotten, and late answers count for the host.
ANSWERS_AWAITED_MAX = 20_000

#: The longest that tables may ask to hold a packet: TCP tries again after a second, and a flow of
#: held packets must not fill the room for them.
HOLD_MS_MAX = 10_000

#: One order to a loop; the socket's buffer allows 208 KiB unless it is enlarged.
ORDER_BYTES_MAX = 1_048_576

#: Tables of 10,000 rules, of which 5,000 take any port, between 20,000 ports: 20,000 sets of 800
#: bytes are 16 MB. Larger ones are refused, and the loop goes on with those it has.
TABLES_BYTES_MAX = 67_108_864
#: A set of rules is 1,024 words of 64 at most.
TABLE_RULES_MAX = 65_536
#: What tables may hold at most; ~40 bytes each in a loop, so 20 MB in all at every bound. Tables or
#: changes beyond it are refused, and counted as undecodable.
TABLE_CLASSES_MAX = 262_144
TABLE_STRETCHES_MAX = 1_048_576
TABLE_ADDRESSES_MAX = 262_144
TABLE_LISTENERS_MAX = 65_536
TABLE_CGROUPS_MAX = 65_536
TABLE_NETWORKS_MAX = 1_024
TABLE_HOST_ADDRESSES_MAX = 4_096

#: Candidates behind one address; two such ends are 4,096 pairs to judge, ~400 µs in a loop, once.
ADDRESS_CANDIDATES_MAX = 64

#: A loop shows that it lives at least twice a second; one that has not for so long is stuck and is
#: killed. Looked at four times a second, so that packets pass again within two seconds.
LOOP_STUCK_SECONDS = 1.5
PULSE_CHECK_SECONDS = 0.25

#: One report at most; ~80 bytes a flow.
RECORD_BYTES_MAX = 1 << 20

#: Seconds between two readings of the kernel's counters, and the share of time that they may take:
#: 100,000 flows are read in a second or two, so then every minute.
COUNT_INTERVAL_SECONDS = 2.0
COUNT_TIME_SHARE = 0.04

#: A generation's end at the latest: remembered flows are judged anew, and who connects is looked at
#: again.
GENERATION_SECONDS_MAX = 60.0

#: The firewall is looked at after somebody has changed it, at most so often; and every so many
#: seconds in any case, since the kernel does not promise to tell.
RESTORE_SPACING_SECONDS = 1.0
RESTORE_INTERVAL_SECONDS = 4.0

#: A condition about something that has happened and is over stands so long.
CONDITION_LINGER_SECONDS = 600.0

#: How often the policy file is looked at, and its biggest size that is read.
POLICY_FILE_SECONDS = 1.0

#: Conflicts with other programs' rules that are told one by one, and the characters of a rule that
#: are shown; a rule set that marks packets has a handful, a generated one thousands alike.
CONFLICTS_MAX = 32
CONFLICT_CHARS_MAX = 200

#: Descriptors looked at to find whose a netlink socket is: 0.5 s at 5 µs each.
CONFLICT_DESCRIPTORS_MAX = 100_000

#: How long after a connection was opened its SYN may still be reported: a generation of 10 s, its
#: reading and a report. Where generations are longer, the lag is.
COVERAGE_LAG_SECONDS = 15.0
#: Seconds between two readings, at 0.8 ms a namespace: 50 containers take 0.3 % of a core. What is
#: shown of those with connections that nobody saw.
COVERAGE_INTERVAL_SECONDS = 15.0
COVERAGE_SHOWN_MAX = 5
#: Rules of others are looked at again after a change of them, at most so often: 50 ms each time.
CONFLICTS_SPACING_SECONDS = 60.0
#: What was not seen is forgotten when nothing more of it happened for so long.
COVERAGE_KEEP_SECONDS = 600.0
#: Namespaces whose opened connections are compared; ~2 KiB each. Others are not compared.
COVERAGE_NAMESPACES_MAX = 2_000
#: Readings of a namespace that wait for their lag (75 s at one a second), and seconds of reports
#: kept. Beyond them readings are skipped, and reports are taken to have come at any time since.
COVERAGE_READINGS_MAX = 128
COVERAGE_BUCKETS_MAX = 256
