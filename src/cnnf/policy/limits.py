"""How large a policy may be; what happens at each bound is said beside it."""

#: Rules of both lists together. 1,000 teams of 20 rules. A set of rules is one bit a rule, 2.5 kB
#: here, and an answer costs a handful of such sets. More are refused.
RULES_MAX = 20_000
#: Network objects: one a rule. More are refused.
OBJECTS_MAX = 20_000
#: Values of one object: an office list, a country's networks. More are refused.
VALUES_MAX = 5_000
#: Values of all objects together: 100,000 values of ~30 bytes are 3 MB of text. More are refused.
POLICY_VALUES_MAX = 100_000
#: Objects on one side of a rule, and port ranges of a rule. More are refused: make an object.
SIDE_OBJECTS_MAX = 100
PORTS_MAX = 50
#: Patterns in one of an object's `clusters`, `namespaces`, `hosts`. More are refused.
QUALIFIERS_MAX = 100
#: Labels of one object, and values of one label's `in`. More are refused.
LABELS_MAX = 64
LABEL_VALUES_MAX = 100

#: Characters of a rule's or object's name (a cause is drawn on one line), of a value or pattern
#: (an image's name with registry and digest is below 512), of a note. More are refused.
NAME_CHARS_MAX = 128
VALUE_CHARS_MAX = 512
NOTE_CHARS_MAX = 1_024

#: Bytes of the YAML form: 20,000 rules of ~150 bytes, as many objects, 100,000 values are 9 MB.
#: A longer text is refused unread.
FORM_BYTES_MAX = 16 * 1024 * 1024
#: Nesting of the YAML form; its deepest place is 6 (document, list, object, labels, test, values).
#: What is deeper is refused at that place, before anything inside is read.
FORM_DEPTH_MAX = 8
#: Nesting of what Kubernetes writes: a pod in a list with affinity or an environment taken from
#: elsewhere is at most 20 deep, its `managedFields` a little more.
MANIFEST_DEPTH_MAX = 64
#: Pairs of an egress and an ingress rule of NetworkPolicies that are looked at: 3 us each are 6 s.
#: A rule a pair that can meet comes of it, of which there are at most `RULES_MAX`.
NETWORK_POLICY_PAIRS_MAX = 2_000_000
#: Keys, texts and lists of the YAML form: 20,000 rules of 20, as many objects of 8 and 100,000
#: values are 660,000; kept in memory at about 0.3 kB each. Reading stops there.
FORM_NODES_MAX = 1_000_000
#: Flows of one file that are judged: 16 MiB at ~150 bytes are twice as many. Labels and named ports
#: of one side; Kubernetes sets no limit of its own, and hundreds are a mistake. More are refused.
FLOWS_MAX = 50_000
FLOW_LABELS_MAX = 256

#: Stretches of ports that are looked at to find rules that others shadow only together: 0.5 us each
#: are 1 s. Beyond, such rules are not found any more.
ANALYSIS_STRETCHES_MAX = 2_000_000
#: Protected endpoints that a finding names; others are counted.
FINDING_EXAMPLES_MAX = 3
#: How long before its end a rule is told to expire soon: a week has a working day.
EXPIRES_SOON_MS = 7 * 24 * 3600 * 1000

#: Texts of the YAML form, and an object's values, of which is kept what they mean: written or read
#: again, compiled and analysed they come several times each. 0.5 kB each at most, 16 MB; the one
#: that was not asked for the longest goes first and is worked out again in some microseconds.
SCALARS_CACHED_MAX = 32_768

#: Problems of one form that are told; further ones are only counted.
PROBLEMS_MAX = 50

#: Bytes that the sets of a compiled policy may take: by address 2 sets an interval, by port one.
#: 10,000 rules on 10,000 subnets are 20,000 intervals of 0.6 kB on average: 12 MB. A policy beyond
#: is refused whole, before it judges anything.
SET_BYTES_MAX = 256 * 1024 * 1024
#: Identities whose sets a compiled policy keeps; the first ones go first and are worked out again.
#: Sets are shared between identities that the same objects select.
IDENTITIES_CACHED_MAX = 65_536
#: Bytes of the different sets kept for them: 50,000 different ones at 10,000 rules. All of them go
#: at once beyond, and are worked out again at about 10 us each.
IDENTITY_SET_BYTES_MAX = 64 * 1024 * 1024

#: Sets kept of the rules that judge on a stretch of ports: 2.5 kB each at most. All go at once
#: beyond, and are made again in 2 us each.
JUDGING_CACHED_MAX = 4_096

#: Decisions that are kept for pairs that come again, at 1 kB each. All go at once beyond, and
#: are worked out again at about 10 us each.
DECISIONS_CACHED_MAX = 65_536

#: DNS names that one candidate is looked up by; the others are not looked at.
NAMES_MAX = 64

#: Candidates a side. 128 x 128 pairs of 0.2 us are 3 ms. More are an error of the caller's.
CANDIDATES_MAX = 128
