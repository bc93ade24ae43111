import { Button, Center, Group, Loader, TextInput } from "@mantine/core";
import { IconPlus, IconSearch, IconShieldPlus } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";
import type { Policy, Rule, RuleList } from "../../api/types";
import { formatNumber, plural } from "../../radar/format";
import { useChange } from "./change";
import { DeleteRuleDialog } from "./DeleteRuleDialog";
import { draftOf, newDraft, type RuleDraft } from "./draft";
import { MoveDialog } from "./MoveDialog";
import { matchingRules } from "./matching";
import { Nothing } from "./Nothing";
import classes from "./Policy.module.css";
import { findingsQuery, hitsQuery, policyQuery } from "./query";
import { Refusal } from "./Refusal";
import { RuleDrawer } from "./RuleDrawer";
import { RuleGrid } from "./RuleGrid";
import { moveBody, moved } from "./reorder";
import { usePolicy } from "./usePolicy";
import { findingsByName, LIST_WORDS } from "./words";

const HOME = "/defend/firewalls/cnnf";

export const ContainerRules = () => <RulesTab list="containers" />;
export const HostRules = () => <RulesTab list="hosts" />;

/** The rules of one list: ordered, found, switched, moved, written. */
function RulesTab({ list }: { list: RuleList }) {
  const { policy, error, mayChange } = usePolicy();
  if (policy === undefined) {
    return (
      <div className={classes.body}>
        {error === null ? (
          <Center h="100%">
            <Loader aria-label="Loading" />
          </Center>
        ) : (
          <Nothing
            icon={<IconShieldPlus size={48} stroke={1.2} aria-hidden />}
            title="The policy cannot be loaded"
            text={`${error.message} Trying again.`}
          />
        )}
      </div>
    );
  }
  return <Rules list={list} policy={policy} mayChange={mayChange} />;
}

interface Props {
  list: RuleList;
  policy: Policy;
  mayChange: boolean;
}

function Rules({ list, policy, mayChange }: Props) {
  const search = useSearch({ from: `/inside${HOME}/${list}` });
  const navigate = useNavigate();
  const queries = useQueryClient();
  const rules = policy.rules[list];
  const { data: findings } = useQuery(findingsQuery);
  const { data: hits } = useQuery(hitsQuery);
  const [editing, setEditing] = useState<{ draft: RuleDraft; base: Policy } | null>(null);
  const [removing, setRemoving] = useState<Rule | null>(null);
  const [moving, setMoving] = useState<number | null>(null);
  const change = useChange();

  const other: RuleList = list === "containers" ? "hosts" : "containers";
  const elsewhere =
    search.rule !== undefined &&
    !rules.some((rule) => rule.name === search.rule) &&
    policy.rules[other].some((rule) => rule.name === search.rule);
  useEffect(() => {
    if (elsewhere) {
      void navigate({ to: `${HOME}/${other}`, search: { rule: search.rule }, replace: true });
    }
  }, [elsewhere, navigate, other, search.rule]);
  const gone =
    search.rule !== undefined && !elsewhere && !rules.some((rule) => rule.name === search.rule);

  const matches = useMemo(() => matchingRules(rules, search.q), [rules, search.q]);
  const hitsByRule = useMemo(() => new Map((hits ?? []).map((one) => [one.rule, one])), [hits]);
  const found = useMemo(() => findingsByName(findings ?? [], list), [findings, list]);
  const say = (part: { q?: string | undefined; rule?: string | undefined }) =>
    void navigate({
      to: `${HOME}/${list}`,
      search: { q: search.q, rule: search.rule, ...part },
      replace: true,
    });

  // One after the other: each is made of the version that the one before has made.
  const last = useRef<Promise<unknown>>(Promise.resolve());
  const send = (path: string, body: unknown) => {
    last.current = last.current
      .then(() => {
        const version = queries.getQueryData(policyQuery.queryKey)?.version ?? policy.version;
        return change.mutateAsync({ method: "POST", path, body, version });
      })
      .catch(() => queries.invalidateQueries({ queryKey: policyQuery.queryKey }));
  };
  const showAs = (shown: readonly Rule[]) =>
    // Shown at once; if it is refused, the next answer puts it back.
    queries.setQueryData(policyQuery.queryKey, {
      ...policy,
      rules: { ...policy.rules, [list]: shown },
    });
  const move = (from: number, to: number) => {
    const body = moveBody(
      rules.map((rule) => rule.name),
      from,
      to,
    );
    if (body === null) return;
    showAs(moved(rules, from, to));
    send("/policy/rules/move", body);
  };
  const toggle = ({ name, enabled = true }: Rule) => {
    showAs(rules.map((rule) => (rule.name === name ? { ...rule, enabled: !enabled } : rule)));
    send("/policy/rules/enable", { rules: [name], enabled: !enabled });
  };
  const position = (rule: Rule) => rules.findIndex((one) => one.name === rule.name);

  return (
    <>
      <div className={classes.tools}>
        <search className={classes.search}>
          <TextInput
            aria-label="Search rules"
            placeholder="Search name, object, port, owner"
            size="sm"
            value={search.q ?? ""}
            leftSection={<IconSearch size={16} stroke={1.7} aria-hidden />}
            onChange={(event) => say({ q: event.currentTarget.value || undefined })}
            onKeyDown={(event) => {
              if (event.key === "Escape") say({ q: undefined });
            }}
          />
        </search>
        <span className={classes.dim} role="status">
          {matches !== null &&
            `${formatNumber(matches.size)} of ${plural(rules.length, "rule")}. ${
              mayChange ? "Clear the search to change the order." : ""
            }`}
          {matches === null && rules.length > 0 && "The first enabled rule that matches decides."}
        </span>
        {mayChange && (
          <div className={classes.end}>
            <Button
              size="sm"
              leftSection={<IconPlus size={16} stroke={1.9} aria-hidden />}
              onClick={() => setEditing({ draft: newDraft(list), base: policy })}
            >
              Add rule
            </Button>
          </div>
        )}
      </div>
      {gone && (
        <div className={classes.said} role="status">
          <Group gap="sm">
            There is no rule called “{search.rule}” now. The history tells when it went.
            <Button size="compact-xs" variant="default" onClick={() => say({ rule: undefined })}>
              Dismiss
            </Button>
          </Group>
        </div>
      )}
      {change.error !== null && (
        <div className={classes.tools}>
          <Refusal
            error={change.error}
            version={change.variables?.version ?? 0}
            onReload={change.reset}
          />
        </div>
      )}
      <section className={classes.body} aria-label={LIST_WORDS[list]}>
        {rules.length === 0 ? (
          <Nothing
            icon={<IconShieldPlus size={48} stroke={1.2} aria-hidden />}
            title={`No rules for ${list}`}
            text={
              list === "containers"
                ? "Nothing is prevented: connections of containers are seen and allowed. A rule says who may connect to whom, and what is alerted on or prevented."
                : "Nothing is prevented: connections of the hosts' services are seen and allowed. A rule says who may connect to whom, and what is alerted on or prevented."
            }
          />
        ) : matches !== null && matches.size === 0 ? (
          <Nothing
            icon={<IconSearch size={48} stroke={1.2} aria-hidden />}
            title="No rule matches"
            text="Search for another name, object, port or owner."
          />
        ) : (
          <RuleGrid
            label={LIST_WORDS[list]}
            rules={rules}
            matches={matches}
            hits={hitsByRule}
            findings={found}
            marked={search.rule}
            mayChange={mayChange}
            onMove={move}
            actions={{
              open: (rule) => setEditing({ draft: draftOf(rule, list), base: policy }),
              toggle,
              remove: setRemoving,
              moveTo: (rule, where) => {
                if (where === "ask") setMoving(position(rule));
                else move(position(rule), where === "first" ? 0 : rules.length - 1);
              },
              cause: (name) => {
                if (policy.networkObjects.some((one) => one.name === name)) {
                  void navigate({ to: `${HOME}/objects`, search: { kind: "all", q: name } });
                } else say({ q: undefined, rule: name });
              },
            }}
          />
        )}
      </section>
      {editing !== null && (
        <RuleDrawer
          initial={editing.draft}
          base={editing.base}
          readOnly={!mayChange}
          onClose={() => setEditing(null)}
          onSaved={(name) => {
            setEditing(null);
            say({ rule: name });
          }}
        />
      )}
      {removing !== null && (
        <DeleteRuleDialog
          rule={removing}
          version={policy.version}
          onClose={() => setRemoving(null)}
        />
      )}
      {moving !== null && rules[moving] !== undefined && (
        <MoveDialog
          name={rules[moving].name}
          from={moving}
          count={rules.length}
          onMove={move}
          onClose={() => setMoving(null)}
        />
      )}
    </>
  );
}
