import { describe, expect, it } from "vitest";
import type { GraphNode, NetworkObject, Policy, Rule, RuleList } from "../../api/types";
import { changePath } from "./change";
import { nextSkip } from "./connections";
import {
  changedMeanwhile,
  draftOf,
  freeName,
  localTime,
  newDraft,
  parsePorts,
  problemsOf,
  rebased,
  ruleOf,
  saveRequest,
  utcTime,
  withDraft,
} from "./draft";
import { edgeDraft, nodeObject } from "./ends";
import { enforcedBy } from "./enforced";
import { matchingObjects, matchingRules } from "./matching";
import { objectDraft, objectOfDraft, problemsOfObject } from "./object-draft";
import { heldBy, quarantineBody } from "./quarantine";
import { announcement, moveBody, moved, press } from "./reorder";
import { parseHistorySearch, parseObjectsSearch, parseRulesSearch } from "./search";
import { sideChanged } from "./side";
import { kindsOf, typedObject, typedProblem } from "./typed";
import { differenceText, findingsByName, madeBy, narrowedBy, portsText } from "./words";

const web: NetworkObject = { name: "web", type: "image", values: ["shop/web"] };
const rule = (name: string, part: Partial<Rule> = {}): Rule => ({ name, effect: "allow", ...part });
const policy = (
  containers: Rule[],
  hosts: Rule[] = [],
  objects: NetworkObject[] = [web],
): Policy => ({
  version: 7,
  digest: "d",
  author: "ann",
  reason: "",
  at: "2026-06-01T12:00:00.000Z",
  kind: "rule",
  subject: "",
  rule_count: containers.length + hosts.length,
  object_count: objects.length,
  networkObjects: objects,
  rules: { containers, hosts },
});
const node = (part: Partial<GraphNode>): GraphNode => ({
  id: part.name ?? "n",
  kind: "app",
  name: "shop/web",
  group: ["", ""],
  instances: 1,
  model: { state: null },
  internet: false,
  tags: [],
  projects: [],
  hosts: [],
  found: false,
  incident: false,
  member: false,
  ...part,
});

describe("a rule while it is written", () => {
  it("reads ports and ranges, and nothing else", () => {
    expect(["443", " 8000 - 8100 ", "0", "80-80"].map(parsePorts)).toEqual([
      443,
      "8000-8100",
      0,
      80,
    ]);
    expect(["", "65536", "9-8", "http", "1-2-3", "-1"].map(parsePorts)).toEqual(
      Array(6).fill(null),
    );
  });

  it("is the rule again when nothing was changed, and leaves out what narrows nothing", () => {
    const whole = rule("pay", {
      source: ["web"],
      destination: ["internet"],
      ports: [443, "8000-8100"],
      protocol: "tcp",
      enabled: false,
      owner: "ann",
      expires: "2027-01-01T00:00:00Z",
      note: "why",
    });
    expect(ruleOf(draftOf(whole, "containers"))).toEqual(whole);
    expect(ruleOf(newDraft("hosts", { name: " x " }))).toEqual({ name: "x", effect: "prevent" });
  });

  it("keeps the moment of its end through the reader's own time", () => {
    expect(utcTime(localTime("2027-03-28T01:30:00Z"))).toBe("2027-03-28T01:30:00Z");
    expect([localTime(""), utcTime(""), localTime("soon")]).toEqual(["", "", ""]);
  });

  it("says what is wrong with it", () => {
    expect(problemsOf(newDraft("hosts", { name: "x", ports: ["1"] }), [])).toEqual({});
    expect(Object.keys(problemsOf(newDraft("hosts", { ports: ["x"] }), []))).toEqual([
      "name",
      "ports",
    ]);
  });

  it("says at which side what was typed is wrong, or cannot stand", () => {
    const at = (list: RuleList, source: string[], destination: string[]) => {
      const one = sideChanged(source, list, [web], []);
      const other = sideChanged(destination, list, [web], one.fresh);
      const sides = { source: one.names, destination: other.names, objects: other.fresh };
      return Object.keys(problemsOf(newDraft(list, { name: "x", ...sides }), [web]));
    };
    expect(at("containers", ["10.0.0.7"], ["web"])).toEqual([]);
    expect(at("containers", ["web"], ["10.0.0.300"])).toEqual(["destination"]);
    expect(at("containers", ["10.0.0.1/8"], ["web"])).toEqual(["source"]);
    expect(at("hosts", ["web"], [])).toEqual(["source"]);
    expect(at("hosts", ["10.0.0.7"], ["10.0.0.8"])).toEqual(["destination"]);
    expect(at("hosts", ["10.0.0.7"], [])).toEqual([]);
  });

  it("is put where it is wanted, or stays where it stands", () => {
    const held = policy([rule("a"), rule("b")], [rule("h")]);
    const names = (draft: ReturnType<typeof newDraft>) => {
      const { rules } = withDraft(held, draft);
      return [rules.containers.map((one) => one.name), rules.hosts.map((one) => one.name)];
    };
    const fresh = newDraft("containers", { name: "x" });
    expect(names({ ...fresh, place: "first" })[0]).toEqual(["x", "a", "b"]);
    expect(names({ ...fresh, place: { after: "a" } })[0]).toEqual(["a", "x", "b"]);
    expect(names(fresh)[0]).toEqual(["a", "b", "x"]);
    expect(names({ ...fresh, was: "a" })).toEqual([["x", "b"], ["h"]]);
    expect(names({ ...fresh, was: "a", list: "hosts" })).toEqual([["b"], ["h", "x"]]);
  });

  it("is sent alone, or with its new objects in one version", () => {
    const held = policy([rule("a/b")]);
    expect(saveRequest(held, newDraft("containers", { name: "x", place: "first" }))).toMatchObject({
      method: "POST",
      path: "/policy/rules",
      body: { list: "containers", first: true },
    });
    expect(saveRequest(held, draftOf(rule("a/b"), "containers"))).toEqual({
      method: "PUT",
      path: "/policy/rules/a%2Fb",
      body: { rule: rule("a/b") },
    });
    const office: NetworkObject = { name: "office", type: "subnet", values: ["10.0.0.0/8"] };
    const unused: NetworkObject = { ...office, name: "unused" };
    const request = saveRequest(
      held,
      newDraft("containers", { name: "x", source: ["office"], objects: [office, unused] }),
    );
    expect(request).toMatchObject({ method: "PUT", path: "/policy", query: { mode: "replace" } });
    expect(request.body).toMatchObject({ networkObjects: [web, office] });
  });

  it("outlives what others do meanwhile", () => {
    const before = policy([rule("a")]);
    const draft = draftOf(rule("a"), "containers");
    expect(changedMeanwhile(before, policy([rule("a"), rule("b")]), draft)).toBe("");
    expect(changedMeanwhile(before, policy([rule("a", { ports: [1] })]), draft)).toContain(
      "itself",
    );
    expect(changedMeanwhile(before, policy([]), draft)).toContain("deleted");
    expect(rebased(policy([]), draft).was).toBeNull();
    const typed = { ...draft, place: { after: "gone" }, objects: [web] };
    expect(rebased(policy([rule("a")]), typed)).toMatchObject({ place: "last", objects: [] });
  });

  it("gets a name that is free", () => {
    expect(freeName("a", new Set(["a", "a 2"]))).toBe("a 3");
  });
});

describe("what is typed in place of an object", () => {
  it("is told by how it looks", () => {
    const first = (text: string) => kindsOf(text)[0];
    expect(["10.0.0.0/8", "10.1.1.1", "10.0.0.1-10.0.0.9", "fd00::/8", "::1"].map(first)).toEqual(
      Array(5).fill("subnet"),
    );
    expect(["shop/web", "web:1.2", "web@sha256:0"].map(first)).toEqual(Array(3).fill("image"));
    expect(["api.pay.example", "*.pay.example"].map(first)).toEqual(["dns", "dns"]);
    expect(kindsOf("nginx")).toEqual(["image", "service", "host"]);
    expect(kindsOf(" ")).toEqual([]);
    const wrong = (text: string) => typedProblem(typedObject(text, first(text) ?? "image"));
    for (const right of [
      "203.0.113.7",
      "10.0.0.0/8",
      "0.0.0.0/0",
      "192.0.2.10-192.0.2.20",
      "fd00::/8",
      "::1",
      "::/0",
      "2001:db8::1-2001:db8::ff",
      "::ffff:10.0.0.1",
      "1:2:3:4:5:6:7:8",
      "shop/web:1.*",
      "nginx",
      "api.pay.example",
      "*.pay.example",
    ])
      expect([right, wrong(right)]).toEqual([right, null]);
    for (const bad of [
      "10.0.0",
      "256.1.1.1",
      "1.1.1.1-",

      "10.0.0.0/33",
      "10.0.0.1/8",
      "010.0.0.1",
      "10.0.0.9-10.0.0.1",
      "10.0.0.1-fd00::1",
      "fd00::1::2",
      "1:2:3",
      "fd00::1/8",
      "a b",
      "-web",
      "shop/web:",
      "12345::",
    ])
      expect([bad, wrong(bad) !== null]).toEqual([bad, true]);
  });

  it("becomes an object once, and none where one means the same", () => {
    const net: NetworkObject = { name: "net", type: "subnet", values: ["10.0.0.0/8"] };
    expect(sideChanged(["10.0.0.0/8", "web", "internet"], "containers", [net, web], [])).toEqual({
      names: ["net", "web", "internet"],
      fresh: [],
    });
    const once = sideChanged(["10.9.0.7", "nginx"], "hosts", [], []);
    expect(once.fresh.map((one) => one.type)).toEqual(["subnet", "service"]);
    expect(sideChanged(["10.9.0.7"], "hosts", [], once.fresh).fresh).toEqual(once.fresh);
  });
});

describe("a network object while it is written", () => {
  it("is the object again when nothing was changed", () => {
    const object: NetworkObject = {
      name: "web",
      type: "image",
      values: ["shop/web:*"],
      namespaces: ["prod"],
      addresses: ["10.0.0.0/8"],
      labels: { tier: { in: ["a", "b"], "not in": ["c"] }, canary: { exists: false } },
    };
    expect(objectOfDraft(objectDraft(object))).toEqual(object);
    expect(narrowedBy(object)).toEqual([
      "namespace prod",
      "address 10.0.0.0/8",
      "label tier in a, b and not in c",
      "label canary does not exist",
    ]);
  });

  it("has nothing that its type does not have", () => {
    const draft = { ...objectDraft(web), type: "subnet" as const, namespaces: ["prod"] };
    expect(objectOfDraft(draft)).toEqual({ name: "web", type: "subnet", values: ["shop/web"] });
  });

  it("says what is wrong with it", () => {
    const row = { key: "tier", operator: "in" as const, values: ["a"] };
    const labels = (...rows: (typeof row)[]) =>
      problemsOfObject({ ...objectDraft(web), labels: rows }).labels ?? "";
    expect(problemsOfObject(objectDraft(null))).toHaveProperty("values");
    expect(labels(row)).toBe("");
    expect(labels({ ...row, values: [] })).toContain("tier");
    expect(labels(row, row)).toContain("twice");
  });
});

describe("reordering", () => {
  const at = { name: "b", position: 1, count: 4 };

  it("goes by keys: lift, carry, put down or take back", () => {
    expect(press("ArrowDown", null, at)).toBeNull();
    const lift = press(" ", null, at);
    expect(lift).toEqual({ kind: "lift", lifted: { name: "b", from: 1, to: 1 } });
    const lifted = { name: "b", from: 1, to: 3 };
    expect(press("ArrowDown", lifted, at)?.lifted.to).toBe(3);
    expect(press("Home", lifted, at)?.lifted.to).toBe(0);
    expect(press("PageUp", lifted, at)?.lifted.to).toBe(0);
    expect(press("Enter", lifted, at)?.kind).toBe("drop");
    expect(press("Escape", lifted, at)?.kind).toBe("cancel");
    expect(press("x", lifted, at)).toBeNull();
  });

  it("is said aloud with the place", () => {
    const lifted = { name: "b", from: 1, to: 3 };
    expect(announcement({ kind: "carry", lifted }, 4)).toBe("Rule b: position 4 of 4.");
    expect(announcement({ kind: "cancel", lifted }, 4)).toContain("position 2 of 4");
  });

  it("is told as the neighbour it has afterwards", () => {
    const names = ["a", "b", "c", "d"];
    expect(moveBody(names, 2, 0)).toEqual({ rule: "c", first: true });
    expect(moveBody(names, 0, 2)).toEqual({ rule: "a", after: "c" });
    expect(moveBody(names, 3, 1)).toEqual({ rule: "d", after: "a" });
    expect(moveBody(names, 1, 1)).toBeNull();
    expect(moved(names, 0, 2)).toEqual(["b", "c", "a", "d"]);
  });
});

describe("from Radar", () => {
  const edge = (cause: string) => ({
    source: "s",
    target: "t",
    more_ports: 0,
    ports: [443, 80, 0].map((port) => ({
      port,
      protocol: "tcp" as const,
      connections: 1,
      answered: 1,
      refused: 0,
      found: 0,
      verdict: "none" as const,
      cause,
      first_seen: "",
      last_seen: "",
      shared: false,
    })),
  });

  it("a node is an object, an old one where the policy has it", () => {
    expect(nodeObject(node({}), [web])).toBe("web");
    expect(nodeObject(node({ kind: "internet", name: "internet" }), [])).toBe("internet");
    expect(nodeObject(node({ kind: "object", name: "web" }), [web])).toBe("web");
    expect(nodeObject(node({ group: ["c1", "prod"] }), [web])).toMatchObject({
      type: "image",
      clusters: ["c1"],
      namespaces: ["prod"],
    });
    expect(nodeObject(node({ kind: "unmanaged", name: "10.9.0.7" }), [])).toMatchObject({
      type: "subnet",
      values: ["10.9.0.7"],
    });
  });

  it("an edge is a rule with both ends and its ports", () => {
    const target = node({ kind: "unmanaged", name: "10.9.0.7" });
    const draft = edgeDraft(edge(""), node({}), target, "prevent", policy([]));
    expect(draft).toMatchObject({
      list: "containers",
      name: "shop/web to 10.9.0.7",
      source: ["web"],
      destination: ["10.9.0.7"],
      ports: ["80", "443"],
      protocol: "tcp",
      place: "last",
    });
    expect(draft.objects.map((one) => one.name)).toEqual(["10.9.0.7"]);
    expect(edgeDraft(edge("rule:x"), node({}), target, "allow", policy([])).place).toBe("first");
  });

  it("two apps of one name in two namespaces are two objects", () => {
    const [a, b] = ["a", "b"].map((space) => node({ name: "x", group: ["", space] }));
    if (a === undefined || b === undefined) throw new Error("two nodes");
    const draft = edgeDraft(edge(""), a, b, "allow", policy([], [], []));
    expect([draft.source, draft.destination]).toEqual([["x"], ["x in b"]]);
  });

  it("a quarantine is known again", () => {
    const held = {
      name: "quarantine:shop/web in c1/prod",
      object: {
        ...web,
        clusters: ["c1"],
        namespaces: ["prod"],
        hosts: [],
        addresses: [],
        labels: {},
      },
      rules: [],
      note: "",
      in_force: true,
    };
    const target = { node: node({ group: ["c1", "prod"] }), instance: null };
    expect(heldBy([held], target)).toBe(held);
    expect(heldBy([held], { ...target, node: node({}) })).toBeUndefined();
    expect(quarantineBody(target)).toEqual({
      kind: "app",
      name: "shop/web",
      cluster: "c1",
      namespace: "prod",
    });
  });
});

describe("words and search", () => {
  it("says what made a version", () => {
    expect(madeBy({ kind: "rollback", subject: "version 3" })).toBe("back to version 3");
    expect(madeBy({ kind: "rule", subject: "rules 'a', 'b'" })).toBe("rules 'a', 'b'");
    expect(madeBy({ kind: "quarantine", subject: "quarantine:shop/web" })).toBe(
      "quarantined shop/web",
    );
  });

  it("says what differs", () => {
    const change = { name: "pay", list: "containers" as const, fields: [], after: "" };
    expect(differenceText({ ...change, kind: "moved" })).toBe(
      "rule for containers pay moved, at the top",
    );
    expect(differenceText({ ...change, kind: "changed", fields: ["ports", "note"] })).toBe(
      "rule for containers pay: ports, note changed",
    );
    expect(differenceText({ ...change, kind: "removed", list: "" })).toBe(
      "network object pay removed",
    );
    expect(portsText({ ports: [443, "1-2"], protocol: "tcp" })).toBe("443, 1-2 tcp");
  });

  it("keeps findings of rules and of objects apart", () => {
    const finding = { kind: "shadowed", name: "a", list: "hosts", because: "b", message: "" };
    const all = [finding, { ...finding, list: "" }, finding];
    expect(findingsByName(all, "hosts").get("a")).toHaveLength(2);
    expect(findingsByName(all, "").get("a")).toHaveLength(1);
  });

  it("finds rules and objects by all words", () => {
    const rules = [rule("a", { source: ["web"], ports: [443] }), rule("b")];
    expect(matchingRules(rules, " ")).toBeNull();
    expect([...(matchingRules(rules, "WEB 443") ?? [])]).toEqual(["a"]);
    const listed = [{ object: web, used_by: [] }];
    expect(matchingObjects(listed, { kind: "dns" })).toEqual([]);
    expect(matchingObjects(listed, { kind: "all", q: "shop" })).toHaveLength(1);
  });

  it("takes addresses as they come", () => {
    expect(parseRulesSearch({ q: 7, rule: "pay", x: 1 })).toEqual({ q: "7", rule: "pay" });
    expect(parseObjectsSearch({ kind: "cow" })).toEqual({ kind: "all" });
    expect([parseHistorySearch({ version: "3" }), parseHistorySearch({ version: -1 })]).toEqual([
      { version: 3 },
      {},
    ]);
  });

  it("names the version a change is made of", () => {
    const wanted = { method: "POST" as const, path: "/policy/rules", version: 3 };
    expect(changePath({ ...wanted, reason: " a b ", preview: true })).toBe(
      "/policy/rules?version=3&reason=a+b&preview=true",
    );
  });

  it("tells who enforces what", () => {
    const of = (part: object) =>
      enforcedBy(
        {
          policy: { generation: 3, digest: "", refused_generation: 0, refused: "", ...part },
        } as never,
        4,
      );
    expect(of({ generation: 4 }).state).toBe("current");
    expect(of({}).state).toBe("behind");
    expect(of({ refused_generation: 4, refused: "too large" })).toEqual({
      state: "refused",
      text: "version 3, refused version 4",
      why: "too large",
    });
    expect(of({ generation: 0 }).state).toBe("none");
  });
});

describe("the connections of an object", () => {
  it("go on where the page before ended", () => {
    const page = (skipped: number, rows: number, flows: number) =>
      nextSkip({ skipped, listed: Array(rows).fill({}), flows });
    expect(page(0, 100, 250)).toBe(100);
    expect(page(200, 50, 250)).toBeUndefined();
    expect(page(0, 0, 0)).toBeUndefined();
  });
});
