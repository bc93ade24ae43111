/** The names under which the pages use the API's types; `npm run generate` makes them. */
import type { components } from "./generated";

type Schemas = components["schemas"];

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

export type Policy = Schemas["PolicyForm"];
export type PolicyVersion = Schemas["VersionForm"];
export type PolicyChanged = Schemas["ChangedForm"];
export type PolicyDiff = Schemas["DiffForm"];
export type PolicyDifference = PolicyDiff["changes"][number];
export type Finding = Schemas["FindingForm"];
export type Hits = Schemas["HitsForm"];
export type NetworkObject = Schemas["ObjectForm"];
export type LabelTests = Schemas["LabelForm"];
export type ListedObject = Schemas["ListedObjectForm"];
export type ObjectUse = Schemas["UseForm"];
export type Rule = Schemas["RuleForm"];
export type RuleAdded = Schemas["RuleAdded"];
export type RuleReplaced = Schemas["RuleReplaced"];
export type RuleMoved = Schemas["RuleMoved"];
export type RulesEnabled = Schemas["RulesEnabled"];
export type Quarantine = Schemas["QuarantineForm"];
export type Quarantined = Schemas["Quarantined"];

export type RuleList = RuleAdded["list"];
export type RuleEffect = Rule["effect"];
export type ObjectKind = NetworkObject["type"];
export type View = Graph["view"];
export type NodeKind = GraphNode["kind"];
export type Verdict = GraphPort["verdict"];
export type ModelState = NonNullable<GraphNode["model"]["state"]>;
export type ErrorBody = Schemas["ErrorBody"];
