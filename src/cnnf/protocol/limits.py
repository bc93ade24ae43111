"""Bounds on what passes between Defender and Console; both sides refuse what is beyond."""

#: Bytes of one batch, as sent and once decompressed. 20,000 flows of ~200 bytes are 4 MB.
BATCH_BYTES_MAX = 4 * 1024 * 1024
BATCH_BYTES_DECOMPRESSED_MAX = 32 * 1024 * 1024

#: Entries of one batch. A busy host's minute (10,000 flows, 500 instances) fits in one.
BATCH_FLOWS_MAX = 20_000
BATCH_INSTANCES_MAX = 5_000
BATCH_CONDITIONS_MAX = 100

#: Lengths, in characters. Longer text comes from labels and command lines that somebody else
#: controls, so it is cut by the sender and refused by the receiver.
NAME_CHARS_MAX = 512
COMMAND_CHARS_MAX = 1024
LABELS_MAX = 64
LABEL_CHARS_MAX = 256
ADDRESSES_MAX = 64
PORTS_MAX = 1_024

#: Names by which a flow's source knew its destination, each as long as DNS allows (RFC 1035).
ENDPOINT_NAMES_MAX = 8
DNS_NAME_CHARS_MAX = 253

#: Answers to one question, candidates of one answer and bytes of all: 500 ends of 30 candidates of
#: 300 bytes are 4.5 MB, of which a Console gives far less. What does not fit is asked in parts.
SOUGHT_MAX = 1_000
CANDIDATES_TOLD_MAX = 128
ANSWERS_BYTES_MAX = 16 * 1024 * 1024
#: Networks on the internet with protected hosts: single addresses, or wider ones beyond so many.
PUBLIC_MAX = 256
#: Addresses that are called stale at once.
STALE_MAX = 8_192
#: Container networks of one host; Docker's own pools end at some 30.
NETWORKS_MAX = 256

#: Bytes of the policy as it is fetched, decompressed: a text of 16 MiB (`policy.limits`), of which
#: JSON writes a line's end or a quote in two bytes, and as much of names and values once more with
#: keys of 40,000 rules and objects at 250 bytes.
POLICY_BYTES_MAX = 80 * 1024 * 1024
#: How long a Defender keeps a connection that says nothing, and how long a Console does: a
#: heartbeat each ten seconds goes over the same one, without a handshake, and who asks lets go
#: first, so that no request meets a connection that is being closed.
CONNECTION_IDLE_SECONDS = 30.0
CONNECTION_IDLE_MAX_SECONDS = 40
