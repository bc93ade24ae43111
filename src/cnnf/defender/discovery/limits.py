"""Bounds on discovery: what it takes from engines and from /proc, and how long it waits."""

#: The oldest Engine API whose answers are understood (Docker 19.03; also what Podman speaks).
API_VERSION_OLDEST = (1, 40)
#: From here on (Docker 27) bridges masquerade IPv6, too (`ip6tables` is on unless told otherwise).
API_VERSION_MASQUERADES6 = (1, 46)

#: Bytes of one answer. A list entry is about 2 kB, so this is some 15,000 containers; one
#: container's or network's own answer is 10 to 100 kB, more with absurd labels.
LIST_BYTES_MAX = 32 * 1024 * 1024
INSPECT_BYTES_MAX = 4 * 1024 * 1024

#: Bytes of one event line: an event carries all of its container's labels.
EVENT_BYTES_MAX = 256 * 1024

#: Events that wait while the engine is asked about earlier ones. Beyond it they are dropped and
#: everything is listed anew, so nothing is missed.
EVENTS_PENDING_MAX = 1_024

#: Unreadable event lines in a row after which the stream is given up.
EVENTS_BAD_MAX = 8

#: Containers and networks followed. Beyond it the rest is left out and said so.
CONTAINERS_MAX = 5_000
NETWORKS_MAX = 1_000

#: Attachments and published ports of one container.
ATTACHMENTS_MAX = 64
PUBLISHED_MAX = 1_024

#: Servers of DNS of one container; resolvers themselves heed three.
RESOLVERS_MAX = 16

#: Containers of which it is kept when they joined which networks, twice as many as are followed.
#: Beyond it the oldest are forgotten, and the container's start is taken instead.
JOINED_MAX = 10_000

#: Containers that do not run of which it is kept what was said of them, ~2 kB each: those that will
#: start, and those that have just ended.
DESCRIBED_MAX = 2_000

#: Names of images kept, by image id.
IMAGES_MAX = 2_048

#: Requests under way at once.
REQUESTS_MAX = 8

#: Seconds to wait for a connection, and for (each piece of) an answer.
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
#: Seconds one whole answer may take, so that a trickle does not hold discovery up for ever.
ANSWER_TOTAL_S = 30.0
#: An engine that broke off instead of answering is asked once more, so much later.
ASK_AGAIN_S = 0.1

#: Seconds between attempts to reach an engine: doubling, up to the second figure.
RETRY_FIRST_S = 0.25
RETRY_LAST_S = 10.0

#: Seconds between comparisons of what is known with the engine's list. The engine drops events
#: for a reader that is slow for 100 ms, so the stream alone is not proof of having seen all.
RECONCILE_S = 60.0

#: Processes and descriptors looked at while searching for a socket's owner.
PROCESSES_SCAN_MAX = 4_096
DESCRIPTORS_SCAN_MAX = 65_536

#: Processes told for one socket: those of a pre-forking server all hold its listener.
HOLDERS_MAX = 64

#: Socket units read, and seconds until they are read again. A host has some 30 of them: 5 ms.
SOCKET_UNITS_MAX = 512
SOCKET_UNITS_SECONDS = 30.0

#: cgroups walked and remembered. A busy Kubernetes node has some 2,000.
CGROUPS_MAX = 16_384
CGROUP_DEPTH_MAX = 16

#: Bytes read of one /proc file.
PROC_BYTES_MAX = 64 * 1024
#: Bytes of cgroup.procs: 4,096 pids of at most 8 bytes.
CGROUP_PROCS_BYTES_MAX = 32 * 1024
#: Bytes of mountinfo: a node with many containers has thousands of lines of about 200.
MOUNTINFO_BYTES_MAX = 4 * 1024 * 1024

#: Names of users kept, by id.
USERS_MAX = 1_024

#: Bytes of one answer of a container runtime: what a kubelet takes. A container is some 2 kB in the
#: list, so this is 8,000 of them.
CRI_ANSWER_BYTES_MAX = 16 * 1024 * 1024
#: Seconds between two looks at everything where a runtime tells no events: CRI-O with its events
#: switched off. A list takes a runtime with few containers 1.5 ms.
CRI_POLL_S = 1.0
#: A runtime whose answer is older than its event is asked again: first after 4 ms, then after twice
#: as long each time, 1 s in all.
CRI_DOUBT_S = 0.004
CRI_DOUBTS_MAX = 8
#: Images whose names are kept, and sandboxes whose description is, by id.
CRI_IMAGES_MAX = 2_048
CRI_SANDBOXES_MAX = 5_000

#: Network configurations of one folder that are read, and bytes of each; there is one as a rule, of
#: some 500 bytes.
CNI_FILES_MAX = 64
CNI_BYTES_MAX = 256 * 1024
CNI_SUBNETS_MAX = 256
#: Addresses of pods in no subnet that a configuration tells of, which are taken one by one: those
#: of 250 pods with two each. The packet loops have room for 1,024 networks in all.
CNI_ADDRESSES_MAX = 500

#: Bytes of a service account's files and of a kubeconfig with certificates for many clusters.
KUBERNETES_FILE_BYTES_MAX = 4 * 1024 * 1024
#: Bytes of one change of a watch: etcd takes 1.5 MB, and JSON is longer than what it keeps.
KUBERNETES_LINE_BYTES_MAX = 4 * 1024 * 1024
#: Objects asked for at once, and how often a list is begun again that expired between two pages.
KUBERNETES_PAGE_OBJECTS = 200
KUBERNETES_LIST_TRIES_MAX = 5
#: Seconds after which the server ends a watch, and the least time one is expected to last.
KUBERNETES_WATCH_S = 300
KUBERNETES_WATCH_S_MIN = 1.0
#: Seconds between two attempts after many: with 10,000 Defenders 330 requests a second.
KUBERNETES_RETRY_LAST_S = 30.0
#: Pods of one node; the limit is 110 unless it was raised, and 500 on the largest.
KUBERNETES_PODS_MAX = 2_000
#: Services of a cluster, whose addresses are kept; the documented bound of a cluster is 10,000.
KUBERNETES_SERVICES_MAX = 20_000
KUBERNETES_PORTS_MAX = 256
KUBERNETES_PLACES_MAX = 100_000
#: Owners of an object, and objects behind pods that are remembered.
KUBERNETES_OWNERS_MAX = 16
KUBERNETES_PARENTS_MAX = 4_096
