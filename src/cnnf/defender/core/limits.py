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
#: The same where a container has ended: an engine needs as long at least to take its address back
#: and to start another one with it. A hundred ends a second are then ten switches, 0.4 of a core.
ENDED_SWITCH_SPACING_SECONDS = 0.1
#: Containers whose first process is watched, a descriptor each, but never more than half of those
#: that the process may have. The end of others is known when their engine tells.
EXITS_WATCHED_MAX = 5_000
#: How often it is noted that they live: one call each time, 4 a second.
EXITS_LOOK_SECONDS = 0.25

#: Flows kept for the next batch, and sightings that wait for their names; ~400 bytes each. Of more
#: sightings what loops tell of is left to the kernel's counters, unless a rule decided. Beyond
#: twice as many sightings, or so many flows, new ones are dropped and counted.
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

#: The same where a container is known to have come, of which its engine has still to tell: it can
#: be asked about once it has started, which takes seconds where every core is busy.
EXPECTED_WAIT_MS = 8_000

#: How long it is kept who had an address: what is counted spans a generation of a minute, and is
#: read within seconds of its end.
ADDRESS_LINGER_MS = 120_000

#: How long before a running container is said to have joined a network it may have sent from there,
#: and before one is said to have started: Docker says the first a few ms after the fact, and the
#: second once its runtime has answered, which takes a while where every core is busy.
JOIN_LEAD_MS = 100
START_LEAD_MS = 1_000

#: Addresses whose text, or whose network, is remembered; ~150 bytes each.
ADDRESSES_REMEMBERED_MAX = 50_000

#: Owners kept for one address. Of those before nothing is left but that the address was
#: somebody's, and what spans their time is nobody's.
ADDRESS_OWNERS_MAX = 8

#: Containers whose end is kept in mind against late news of them by those who only heard of it;
#: ~150 bytes each. A busy host ends some thousand an hour, and Kubernetes is seconds behind.
ENDED_CONTAINERS_MAX = 5_000

#: Pods of this host; Kubernetes itself advises 110 a node. Beyond it a pod adds no names.
PODS_MAX = 2_000

#: Instances of host services known at once; more are drawn as the host itself.
SERVICES_MAX = 2_000

#: Batches kept while the Console is away, and seconds between two batches when there is news.
OUTBOX_BATCHES_MAX = 2_000
BATCH_INTERVAL_SECONDS = 0.4
#: A Defender with nothing to say still says that it lives.
HEARTBEAT_SECONDS = 10.0

#: Bytes of batches kept in memory; beyond it the oldest are given up. They go to disk after so many
#: seconds without an acknowledgement, and are looked at for that as often: a Defender that is
#: killed loses what was seen in twice that time at most, one that is asked to end nothing.
OUTBOX_BYTES_MAX = 32 * 1024 * 1024
SPOOL_AFTER_SECONDS = 5.0
#: Seconds between two batches while the Console is away, since nobody watches: what recurs is
#: counted in one batch, and a night of it (8,640 batches of ~2 KB) takes 20 MB.
AWAY_INTERVAL_SECONDS = 5.0
#: Disk that may be used for what the Console has not acknowledged: a week and more of a busy host's
#: batches (10,000 flows a minute are 20 MB an hour). Beyond it the oldest segment is given up.
SPOOL_BYTES_DEFAULT = 512 * 1024 * 1024
#: One segment is closed at this size, so it is twice that at most (a batch has 4 MiB at most); it
#: is read whole. With a small quota it is a quarter of that, so that not all is given up at once.
SPOOL_SEGMENT_BYTES = 4 * 1024 * 1024
#: Segments at once, each one file: more than the default quota has at 4 MiB each, and enough for as
#: many restarts while the Console is away. Beyond it the oldest is given up.
SPOOL_SEGMENTS_MAX = 1_024

#: A certificate is renewed when a third of its time is left (four months of a year), then tried
#: again every so many seconds; how often it is looked at. From a tenth on it is told that it could
#: not be renewed.
RENEW_SHARE = 1 / 3
RENEW_WARN_SHARE = 1 / 10
RENEW_RETRY_SECONDS = 3_600.0
#: Certificates are good from an hour before they were made; a host whose clock is further from the
#: Console's can't join.
CLOCK_SKEW_SECONDS_MAX = 3_600.0

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

#: A loop reports within a quarter of a second, and its report may wait for the daemon, which is at
#: other work for a while where tens of thousands of flows are to be named. What nobody has told of
#: after so long, nobody will.
REPORT_LATE_MS = 1_500

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

#: What is told of endpoints in one order, and how many of these in a row: together half of what a
#: socket takes (the kernel counts double). More goes as whole tables, in a file.
ORDER_PIECE_BYTES = 32 * 1024
ORDER_PIECES_MAX = 3

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

#: Ends elsewhere that a loop knows; ~40 bytes each in the native loop. The daemon holds fewer
#: (PEERS_MAX), so that there is room for what comes before what goes.
TABLE_PEERS_MAX = 65_536

#: Ends that rules by name select, each for one asker, that loops are told of; ~100 bytes each in a
#: loop, 7 MB. What is beyond it is not selected by name. A loop takes twice as many, as with peers.
MEMBERS_MAX = 65_536
TABLE_MEMBERS_MAX = 131_072

#: Answers of the Console that are kept, in memory, in the loops and on disk; ~450 bytes each here,
#: 9 MB in all. At the bound a sixteenth goes, unused for longest.
PEERS_MAX = 20_000
#: Of one address: a port scan from here must not take the room of everybody else's.
PEER_PORTS_MAX = 512
#: Ends that were met and are still to be asked for; ~150 bytes each. Further ones when met again.
WANTED_MAX = 8_192
#: An end that was not met for so long is forgotten: a day, so that nightly jobs are known.
PEER_KEEP_SECONDS = 26 * 3_600
#: What became stale is asked for at once if it was met so lately; else when it is met again.
PEER_ACTIVE_SECONDS = 300
#: What is met within so long goes in one question, and so many at most: 60 KB.
QUESTION_WAIT_SECONDS = 0.02
QUESTION_ENDS_MAX = 500
#: Without anything to ask it is asked so often where on the internet protected hosts are.
QUESTION_IDLE_SECONDS = 60.0
#: How long a question that failed is waited with, at first and at most.
QUESTION_RETRY_FIRST_SECONDS = 0.25
QUESTION_RETRY_MAX_SECONDS = 10.0
#: Answers are written to disk so often while there are new ones: 2 MB at most each time.
PEERS_SAVE_SECONDS = 10.0
#: The kept answers' file: 20,000 of 100 bytes, and whom they name. A larger one is refused.
PEERS_FILE_BYTES_MAX = 32 * 1024 * 1024

#: Ends elsewhere that nobody has told of yet, while they are asked for: how long their SYNs are
#: dropped where a rule could prevent them, which ends before TCP sends a SYN again (after 1 s), so
#: that a connection loses one at most. What tables may ask for at most.
STRANGER_DELAY_MS = 900
STRANGER_DELAY_MS_MAX = 10_000
#: How many of them a loop keeps; ~60 bytes each. One that was not met for STRANGER_FORGET_MS makes
#: room; beyond the bound they are judged by what is known, or dropped when failing closed.
STRANGERS_MAX = 4_096
STRANGER_FORGET_MS = 10_000
#: How often the daemon is told of the same one again while it is met: it may have had no room.
STRANGER_TELL_MS = 1_000
#: How many are told in one report; ~40 bytes each at most.
REPORT_SOUGHT_MAX = 500

#: Candidates behind one address; two such ends are 4,096 pairs to judge, ~400 µs in a loop, once.
ADDRESS_CANDIDATES_MAX = 64

#: Network namespaces that containers share and in which connections are told apart by their socket:
#: one socket each in every loop. More than the pods of a node (110 as a rule); what shares an
#: address beyond it is not named, and judged by what holds for all.
SHARED_ROOMS_MAX = 256

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

#: When a container goes, what it has connected is counted before the rules are renewed, unless the
#: last reading took longer: then it comes too late to tell it from the next one's (10,000 flows).
COUNT_FIRST_SECONDS_MAX = 0.1

#: A generation's end at the latest: remembered flows are judged anew, and who connects is looked at
#: again.
GENERATION_SECONDS_MAX = 60.0

#: The firewall is looked at after somebody has changed it, at most so often; and every so many
#: seconds in any case, since the kernel does not promise to tell.
RESTORE_SPACING_SECONDS = 1.0
RESTORE_INTERVAL_SECONDS = 4.0

#: A condition about something that has happened and is over stands so long.
CONDITION_LINGER_SECONDS = 600.0

#: How often the policy file, and whether a rule has expired, is looked at.
POLICY_FILE_SECONDS = 1.0
#: How long fetching the policy may take: 10,000 rules are 0.2 MB compressed, the largest policy
#: some 5 MB, which is 40 s at 1 Mbit/s. Then it is tried again, first after the shortest of these,
#: at last after the longest. Whatever the stream says meanwhile is followed at once.
POLICY_FETCH_SECONDS = 60.0
POLICY_RETRY_FIRST_SECONDS = 0.25
POLICY_RETRY_MAX_SECONDS = 30.0
#: After a break all Defenders come back together: what changed meanwhile each fetches at a moment
#: of its own. 10,000 in 2 s are 5,000 a second, of a body that the Console has ready.
POLICY_JITTER_SECONDS = 2.0
#: How often keeping the policy on disk is tried again where that failed.
POLICY_KEEP_SECONDS = 30.0

#: Conflicts with other programs' rules that are told one by one, and the characters of a rule that
#: are shown; a rule set that marks packets has a handful, a generated one thousands alike.
CONFLICTS_MAX = 32
CONFLICT_CHARS_MAX = 200

#: Descriptors looked at to find whose a netlink socket is: 0.5 s at 5 µs each.
CONFLICT_DESCRIPTORS_MAX = 100_000

#: How long after a connection was opened its SYN may still be reported: a generation of 10 s, its
#: reading and a report. Where generations are longer, the lag is.
COVERAGE_LAG_SECONDS = 15.0
#: Seconds between two readings, at 0.3 ms a namespace: 50 containers take 0.1 % of a core. What is
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

#: DNS packets a second that are read, both ways: at ~50 µs each a tenth of a core. Answers made to
#: be as dear as can be take 0.8 ms, so then most of one, of what others leave. Beyond the bound
#: they pass without being read, are counted, and what they say gives no name.
DNS_PACKETS_PER_SECOND = 2_000
#: Of those, a container's own, both ways: 250 exchanges, where a busy one makes ten. One that asks
#: without end leaves three quarters to the others. For how many that is kept, ~200 bytes each, and
#: how long: of further ones only the sum is bounded.
DNS_PACKETS_PER_ASKER = 500
DNS_ASKERS_MAX = 16_384
DNS_ASKER_SECONDS = 10
#: Of those, a container's own, both ways: 250 exchanges, where a busy one makes ten. One that asks
#: without end leaves three quarters to the others. For how many that is kept, ~200 bytes each, and
#: how long: of further ones only the sum is bounded.
DNS_PACKETS_PER_ASKER = 500
DNS_ASKERS_MAX = 16_384
DNS_ASKER_SECONDS = 10
#: Bytes of each that are copied: 4,096 of EDNS and all headers before them.
DNS_COPY_BYTES = 4_352
#: Bytes of one message over TCP; a longer one, and all that follows it there, is not read.
DNS_MESSAGE_BYTES_MAX = 16_384
#: Queries that wait for their answer, ~400 bytes each, and how long: resolvers try again after 5 s.
#: Beyond the bound the oldest are forgotten, and their answers tell nothing.
DNS_QUERIES_MAX = 8_192
DNS_ANSWER_MS_MAX = 10_000
#: TCP connections whose messages are put together, each with at most one message, and how long one
#: may be silent. Beyond the bound the one that was silent longest is given up.
DNS_STREAMS_MAX = 256
DNS_STREAM_IDLE_MS = 30_000

#: Addresses with a name, over all askers and of one asker; ~400 bytes each, 13 MB in all; as many
#: again for rules, of configured resolvers alone. Beyond it the oldest go: their flows are shown by
#: address, and no rule selects them by name.
NAMED_ADDRESSES_MAX = 32_768
NAMED_BY_ASKER_MAX = 4_096
#: Names of one address that are kept for one asker, the newest of them.
NAMES_OF_ADDRESS_MAX = 8
#: How long a name holds: its time to live, but not less, since programs use an address for as long
#: as a connection takes to be made and tried again, and not more, since nobody keeps one longer
#: than a day (RFC 8767 advises resolvers so).
NAME_TTL_MIN_MS = 120_000
NAME_TTL_MAX_MS = 86_400_000
#: How long an address that has no name any more is still shown by its last one, where a program
#: goes on using it.
NAME_LINGER_MS = 3_600_000

#: Answers of DNS that wait until the loops know what they say; ~5 KB each with what the kernel
#: keeps, 5 MB. Further ones pass (or are dropped, when failing closed). How long one waits at most:
#: loops confirm within a few milliseconds, but on a machine with nothing to spare a flood has made
#: answers wait 200; who asks is patient for seconds. At all that is read there is room for each.
ANSWERS_HELD_MAX = 1_024
ANSWER_HOLD_MS = 500
#: How often it is looked which resolvers this host is configured with, and what names are over.
NAMES_LOOK_SECONDS = 10.0
#: Answers to containers that discovery has not told of yet, and for how long they are kept until it
#: does, which takes some 0.1 s: then it is known which servers were configured for them.
EARLY_ANSWERS_MAX = 256
EARLY_ANSWER_MS = 5_000
#: Bytes of a resolv.conf that are read; resolvers themselves heed three of its servers.
RESOLV_CONF_BYTES_MAX = 65_536
