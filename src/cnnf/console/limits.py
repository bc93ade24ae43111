"""The Console's named maxima; what happens at each is said beside it."""

#: Units.
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

#: How long minute buckets of flow history are kept: 7 days.
MINUTES_KEPT_MS = 7 * DAY_MS
#: How long hour buckets are kept: 30 days.
HOURS_KEPT_MS = 30 * DAY_MS
#: How long day buckets are kept: 13 months.
DAYS_KEPT_MS = 396 * DAY_MS
#: Stopped instances stay for the side panel as long as hours are kept.
INSTANCES_KEPT_MS = HOURS_KEPT_MS
#: A Defender not heard of for a day no longer says what runs now.
DEFENDER_SILENT_MS = DAY_MS

#: Rows that one expiry step deletes, so that ingest never waits long for it (~20 ms).
EXPIRE_ROWS_MAX = 5_000
#: Seconds between two expiries.
EXPIRE_EVERY_S = 60.0

#: A Defender's clock may run ahead this far; later times are taken as the time of arrival.
CLOCK_AHEAD_MS = 5 * MINUTE_MS

#: Addresses and example processes kept per edge for the side panel; the longest unseen go first.
PEER_ADDRESSES_MAX = 50
PROCESSES_MAX = 8
#: Unmanaged addresses that get nodes of their own; later ones share the node `unmanaged`.
UNMANAGED_NODES_MAX = 10_000
#: Ports of one pair that get edges of their own; later ones are counted on port 0 ("other
#: ports"), so that a port scan cannot fill the edge dictionary.
PORTS_OF_PAIR_MAX = 2_048

#: What one graph shows unless everything is asked for; the rest is counted as hidden.
RADAR_NODES_MAX = 400
RADAR_EDGES_MAX = 1_500
#: What "everything" is bounded to.
RADAR_NODES_ALL_MAX = 20_000
RADAR_EDGES_ALL_MAX = 100_000
#: Ports drawn on one edge, most used first; the others are counted in `more_ports`.
RADAR_PORTS_MAX = 64
#: Tags, projects and hosts named on a node.
RADAR_NAMES_MAX = 32
#: Instances, and edges a side, in the side panel.
DETAIL_INSTANCES_MAX = 200
DETAIL_EDGES_MAX = 500

#: A cause names a rule or a model's flow; it is kept with each bucket and event. A batch with a
#: longer one is refused.
CAUSE_CHARS_MAX = 512
#: Repeats extend an event until it was quiet for this long; then the next one opens a new event.
EVENT_QUIET_MS = HOUR_MS
#: How long events are kept, by when they were last seen: 30 days.
EVENTS_KEPT_MS = 30 * DAY_MS
#: Events kept, the longest unseen go first. About 900 bytes each with their indexes are 90 MB; with
#: every name and command line as long as it may be (4 KB) 400 MB.
EVENTS_MAX = 100_000
#: Events of one pair, cause and effect on different ports, within a quiet hour; what happens on
#: further ports is one event on port 0 ("other ports"), so that a port scan is 65 events and not
#: 65,535 that push out all others.
EVENT_PORTS_MAX = 64
#: Events of one answer, and changes that a stream that comes back is replayed (at 500 bytes each,
#: half a megabyte); with more it gets `resync` and the newest page.
EVENTS_PAGE_MAX = 500
EVENTS_REPLAY_MAX = 1_000
#: The page that a stream begins with.
EVENTS_STREAM_PAGE = 100
#: Characters of a name that is searched for.
EVENT_NAME_CHARS_MAX = 200
#: Live streams of events. One more is answered with 503.
EVENT_STREAMS_MAX = 100
#: Seconds between two looks of one stream, at least: 100 streams look 200 times a second.
EVENTS_EVERY_S_MIN = 0.5

#: The shortest and the longest window that Radar can be asked for.
WINDOW_MIN_MS = 5 * MINUTE_MS
WINDOW_MAX_MS = 31 * DAY_MS

#: Drafts of a policy judged at once against recorded flows: one takes a core. Another is answered
#: with 429.
WHAT_IF_MAX = 1
#: Seconds that it may take: a million rows of history take less than 5. It is refused then, with
#: the advice to choose a shorter window.
WHAT_IF_S_MAX = 60.0
#: Seconds between two looks whether who asked is still there.
WHAT_IF_LOOK_S = 0.25
#: Flows between two looks whether to go on (~10 ms).
WHAT_IF_CHECK_FLOWS = 4_096
#: Sets of rules by side and port that are kept meanwhile, at 2 x 2.5 kB each at most: 80 MB for the
#: largest policies; and outcomes for sides that are not all alike. All go at once beyond, and are
#: made again in 5 us each.
WHAT_IF_SETS_MAX = 16_384
#: Flows and rules of each kind that an answer lists, and instances or addresses that it names of an
#: end: 6 kinds of 100 flows are some 400 kB. The others are counted.
WHAT_IF_FLOWS_MAX = 100
WHAT_IF_RULES_MAX = 50
WHAT_IF_EXAMPLES_MAX = 3

#: Connections of a network object in one answer, and how many an answer may skip: a page of 200
#: rows is 100 kB. Whoever wants more chooses a shorter window.
SEEN_PAGE_MAX = 200
SEEN_SKIP_MAX = 10_000
#: Members of a side that a row names; the others are counted.
SEEN_WHO_MAX = 8
#: Look-ups of an object's connections at once: one walks through all flows of its window, a million
#: in some 3 s of a core. Another is answered with 429.
SEEN_AT_ONCE_MAX = 2
#: Seconds that one may take. It is refused then, with the advice to choose a shorter window.
SEEN_S_MAX = 20.0
#: Ends outside of which is kept which network object has them, 0.3 kB each. All go at once beyond,
#: and are looked up again in 5 us each.
PLACES_CACHED_MAX = 50_000

#: Live streams of Radar, and different views among them. One more is answered with 503.
RADAR_STREAMS_MAX = 200
RADAR_FEEDS_MAX = 32
#: A stream is ended after this long: its reader comes back, and is asked again who it is.
RADAR_STREAM_S_MAX = 900.0
#: Streams to Defenders. One more is answered with 503.
DEFENDER_STREAMS_MAX = 10_000
#: Changes kept for a stream that comes back (at 2 a second, a minute and a half).
RADAR_RING_MAX = 200
#: Changes waiting for one slow reader; beyond it is sent the whole graph again.
RADAR_QUEUE_MAX = 64
#: Seconds between two computations of one feed, at least, and at most (the window slides).
RADAR_EVERY_S_MIN = 0.4
RADAR_EVERY_S_MAX = 15.0
#: A feed is kept this long without readers, so that a page that reloads is replayed.
RADAR_FEED_IDLE_S = 60.0
#: Seconds without an event after which a stream says that it is still there.
KEEPALIVE_RADAR_S = 15.0
KEEPALIVE_DEFENDER_S = 10.0

#: A Defender is live while its stream is open, and this long after its last batch.
DEFENDER_LIVE_MS = 30_000

#: Residents of one host in the directory: a batch's instances. Further ones have no place there,
#: and what connects to them is named by its host.
DIRECTORY_RESIDENTS_MAX = 5_000
#: Residents that ended are kept, so that what a Defender tells late is named by whom it meant: as
#: long as the ledger, the last so many of each host (a container every half minute for 8 h); about
#: 700 bytes each.
DIRECTORY_FORMER_MS = 26 * HOUR_MS
DIRECTORY_FORMER_MAX = 1_000
#: Addresses whose parsed form is kept, at 300 bytes each.
ADDRESSES_PARSED_MAX = 65_536
#: Bytes of a question: 1,000 ends at 60 to 120 bytes each. A longer one is refused.
QUESTION_BYTES_MAX = 256 * 1024
#: Bytes of the answers to one question, half of what a Defender takes; those that do not fit are
#: left out, and asked for again. Most are 300 bytes, the longest possible 4 MB.
ANSWERS_BYTES_MAX = 8 * 1024 * 1024
#: Addresses that the Console remembers a Defender to hold answers of (as many as a Defender keeps),
#: and all Defenders together, at 200 bytes each 400 MB. Beyond it the asker's oldest are called
#: stale, as if they had changed.
HELD_MAX = 20_000
HELD_ALL_MAX = 2_000_000
#: Stale addresses that wait for one Defender; beyond it everything it holds is called stale.
STALE_ADDRESSES_MAX = 4_096
#: Messages that wait on one Defender's stream; beyond it the same.
STALE_QUEUE_MAX = 16
#: Seconds between two looks for what has become stale: changes in between are told at once.
STALE_EVERY_S = 0.5

#: The ledger, where what two Defenders tell of one connection meets. Their clocks, and the times at
#: which they count, may be apart by so many minutes.
LEDGER_TOLERANCE_MINUTES = 2
#: What the destination's Defender told is nobody else's connection when the source's has delivered
#: what it saw until so long after it: names wait up to 1.5 s there, counts 2 s, batches 0.4 s.
LEDGER_MARGIN_MS = 5_000
#: ... and in any case after so long, when the source's Defender is away.
LEDGER_WAIT_MS = MINUTE_MS
#: Entries stay for so long after both have delivered past them, in case batches come out of order,
#: and at most so long in any case: after more than a day away, late deliveries may count again what
#: the other end has told.
LEDGER_GRACE_MS = 10 * MINUTE_MS
LEDGER_KEPT_MS = 26 * HOUR_MS
#: That a source's Defender has told of a port at all is kept as long as hours of history are: what
#: the other end then finds connected when it starts is nothing new. 200 bytes each.
LEDGER_ACCOUNTS_KEPT_MS = HOURS_KEPT_MS
#: Entries of one account (source's and destination's Defender, port, protocol): 26 h of both ends,
#: with one entry a minute each. The oldest go first.
LEDGER_ENTRIES_MAX = 4_096
#: Accounts looked at in one batch because their time has come; the others' turn is the next batch.
LEDGER_SETTLE_MAX = 500
#: A Defender that was silent for so long is back; what it has on its spool comes first.
DEFENDER_AWAY_MS = MINUTE_MS

#: A whole policy as the body of a request is bounded by the form (`cnnf.policy.limits`); one is
#: read and compiled at a time (16 MiB of text are at most 0.5 GB of memory for seconds), and so
#: many changes wait for it; further ones are answered with 503.
POLICY_CHANGES_WAITING_MAX = 16
#: Changes and findings told of one change of the policy; the others are counted.
POLICY_CHANGES_TOLD_MAX = 500
POLICY_FINDINGS_TOLD_MAX = 500
#: Versions of one page of the policy's history. All versions are kept: see `store/policies.py`.
POLICY_VERSIONS_PAGE_MAX = 200
#: Characters of the reason for a change of the policy, and rules that are enabled or disabled at
#: once.
REASON_CHARS_MAX = 500
POLICY_RULES_AT_ONCE_MAX = 1_000
#: Those who are there, to be asked whether objects select anybody: 100,000 take a second and 60 MB.
#: Where there are more this is not looked at.
KNOWN_ENDPOINTS_MAX = 100_000
#: A rule that has decided nothing for so long since it was enabled is called never hit.
NEVER_HIT_AFTER_MS = 7 * DAY_MS
#: Different rules that one batch may count hits of; hits of others are not counted. A policy has
#: `RULES_MAX` rules.
BATCH_RULES_HIT_MAX = 20_000

#: The body of an API request; of a batch see `cnnf.protocol.limits`.
API_BODY_BYTES_MAX = 64 * 1024
#: Connections of each listener; further ones are answered with 503. A Defender has up to three: its
#: stream, its batches, its questions; 10,000 of them come to 30,000 where all ask at once.
CONNECTIONS_MAX = 2_000
DEFENDER_CONNECTIONS_MAX = 32_000
#: Files and connections that this program opens at most, if it is allowed so many.
OPEN_FILES_MAX = 65_536

#: Jobs waiting for the writer; further ones are answered with 503.
WRITE_QUEUE_MAX = 1_000
#: Jobs that share one commit.
WRITE_GROUP_MAX = 64
#: Reading threads, and reads that wait for one; further ones are answered with 503.
READERS = 4
READ_QUEUE_MAX = 200

#: Sessions end after 12 h without use and after 7 days in any case.
SESSION_IDLE_MS = 12 * HOUR_MS
SESSION_MAX_MS = 7 * DAY_MS
#: Sessions at once; the longest unused end.
SESSIONS_MAX = 1_000
#: Use is noted at most this often, so that reading does not write.
SESSION_TOUCH_MS = 5 * MINUTE_MS
#: A join token is good for an hour unless asked for otherwise; so many may wait to be used.
JOIN_TOKEN_MS = HOUR_MS
JOIN_TOKEN_MS_MIN = MINUTE_MS
JOIN_TOKEN_MS_MAX = 7 * DAY_MS
JOIN_TOKENS_MAX = 1_000
#: Defenders that may be enrolled.
DEFENDERS_MAX = 20_000

#: Failed logins (and enrolments) from one address within the window; more are answered with 429.
ATTEMPTS_MAX = 10
ATTEMPTS_WINDOW_MS = MINUTE_MS
#: Addresses remembered for that; the longest unseen goes first.
ATTEMPTS_KEYS_MAX = 4_096

#: Lengths of what comes with a login.
PASSWORD_CHARS_MAX = 256
USER_CHARS_MAX = 64
#: Entries of one page of the audit log, and of the log; the oldest go first.
AUDIT_PAGE_MAX = 500
AUDIT_ROWS_MAX = 100_000

#: Validity of certificates in days, and how many are left when the server's is renewed.
AUTHORITY_DAYS = 3_650
SERVER_DAYS = 365
SERVER_RENEW_DAYS = 30
DEFENDER_DAYS = 365
#: A Defender's signing request.
REQUEST_CHARS_MAX = 8_192

#: Seconds from SIGTERM until open connections are cut.
STOP_S = 1
