/** The names under which the pages use the API's types; `npm run generate` makes them. */
import type { components } from "./generated";

type Schemas = components["schemas"];
/** What the API leaves out where it is the default, and takes left out. */
type Sparse<T, Needed extends keyof T> = Pick<T, Needed> & Partial<Omit<T, Needed>>;

export type Graph = Schemas["Graph"];
export type Change = Schemas["Change"];
export type GraphNode = Schemas["GraphNode"];
export type GraphEdge = Schemas["GraphEdge"];
export type GraphPort = Schemas["GraphPort"];
export type Mode = Schemas["Mode"];
export type Detail = Schemas["Detail"];
export type DetailInstance = Schemas["DetailInstance"];
export type DetailEdge = Schemas["DetailEdge"];
export type DetailProcess = Schemas["DetailProcess"];
export type Session = Schemas["Session"];
export type Settings = Schemas["Settings"];
export type SettingsChange = Schemas["SettingsChange"];
export type EventForm = Schemas["EventForm"];
export type EventEnd = Schemas["End"];
export type Defender = Schemas["Defender"];
export type JoinToken = Schemas["JoinToken"];
export type Condition = Schemas["Condition"];

export type NetworkObject = Sparse<Schemas["ObjectForm"], "name" | "type" | "values">;
export type LabelTests = NonNullable<NetworkObject["labels"]>[string];
export type Rule = Sparse<Schemas["RuleForm"], "name" | "effect">;
export type Policy = Schemas["VersionForm"] & {
  networkObjects: NetworkObject[];
  rules: { containers: Rule[]; hosts: Rule[] };
};
export type PolicyVersion = Schemas["VersionForm"];
export type PolicyChanged = Schemas["ChangedForm"];
export type PolicyDiff = Schemas["DiffForm"];
export type PolicyDifference = PolicyDiff["changes"][number];
export type Finding = Schemas["FindingForm"];
export type Hits = Schemas["HitsForm"];
export type ObjectConnections = Schemas["ObjectConnections"];
export type Connection = ObjectConnections["listed"][number];
export type ConnectionEnd = Connection["source"];
export type ObjectUse = Schemas["UseForm"];
export type ListedObject = { object: NetworkObject; used_by: ObjectUse[] };
export type RuleAdded = Omit<Sparse<Schemas["RuleAdded"], "list">, "rule"> & { rule: Rule };
export type RuleReplaced = Omit<Sparse<Schemas["RuleReplaced"], never>, "rule"> & { rule: Rule };
export type RuleMoved = Sparse<Schemas["RuleMoved"], "rule">;
export type RulesEnabled = Schemas["RulesEnabled"];
export type WhatIf = Schemas["WhatIf"];
export type WhatIfEnd = Schemas["WhatIfEnd"];
export type Newly = Schemas["Newly"];
export type Quarantine = Schemas["QuarantineForm"];
export type Quarantined = Sparse<Schemas["Quarantined"], "kind">;

export type RuleList = RuleAdded["list"];
export type RuleEffect = Rule["effect"];
export type ObjectKind = NetworkObject["type"];
export type View = Graph["view"];
export type NodeKind = GraphNode["kind"];
export type Verdict = GraphPort["verdict"];
export type ModelState = NonNullable<GraphNode["model"]["state"]>;
export type ErrorBody = Schemas["ErrorBody"];
