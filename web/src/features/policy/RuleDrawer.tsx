import {
  Alert,
  Button,
  Drawer,
  Group,
  Select,
  Stack,
  Switch,
  TagsInput,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useState } from "react";
import type { Policy, PolicyChanged, RuleEffect, RuleList } from "../../api/types";
import { useChange, useNewest, type Wanted } from "./change";
import {
  changedMeanwhile,
  objectsOf,
  type Place,
  parsePorts,
  problemsOf,
  type RuleDraft,
  rebased,
  saveRequest,
  typedProblemOf,
  withDraft,
} from "./draft";
import { Labelled } from "./Labelled";
import { Outcome } from "./Outcome";
import classes from "./Policy.module.css";
import { Refusal } from "./Refusal";
import { SidePicker } from "./SidePicker";
import { WhatIfPanel } from "./WhatIfPanel";
import { EFFECT_WORDS, EFFECTS } from "./words";

interface Props {
  initial: RuleDraft;
  /** The policy that the draft is made of. */
  base: Policy;
  readOnly: boolean;
  /** What stands above the fields: where the draft comes from. */
  intro?: string;
  onClose: () => void;
  onSaved: (name: string, list: RuleList) => void;
}

/** A rule while it is written: what it says, what it would do, and why it is refused. */
export function RuleDrawer({ initial, base: first, readOnly, intro, onClose, onSaved }: Props) {
  const [draft, setDraft] = useState(initial);
  const [base, setBase] = useState(first);
  const [reason, setReason] = useState("");
  const [tried, setTried] = useState(false);
  const [meanwhile, setMeanwhile] = useState("");
  const [checked, setChecked] = useState<PolicyChanged | null>(null);
  const newest = useNewest();
  const save = useChange(() => onSaved(draft.name.trim(), draft.list));
  const check = useChange(setChecked);
  const problems = problemsOf(draft, base.networkObjects);
  const edit = (part: Partial<RuleDraft>) => {
    setDraft((before) => ({ ...before, ...part }));
    setChecked(null);
    check.reset();
    if (save.isError) save.reset();
  };
  const wrong = Object.keys(problems).length > 0;
  const wanted = (preview: boolean): Wanted => ({
    ...saveRequest(base, draft),
    version: base.version,
    reason: reason.trim() || (draft.objects.length > 0 ? withObjects(draft) : ""),
    preview,
  });
  const reload = async () => {
    const policy = await newest();
    setMeanwhile(changedMeanwhile(base, policy, draft));
    setDraft(rebased(policy, draft));
    setBase(policy);
    save.reset();
    check.reset();
  };
  const failure = save.error ?? check.error;
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size={600}
      title={draft.was === null ? `New rule for ${draft.list}` : `Rule ${draft.was}`}
      closeButtonProps={{ "aria-label": "Close" }}
      data-testid="rule-drawer"
      closeOnClickOutside={readOnly}
    >
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (!wrong && !readOnly) save.mutate(wanted(false));
        }}
      >
        <Stack gap="md">
          {readOnly && (
            <Text size="sm" c="dimmed">
              Your role can look, but not change this.
            </Text>
          )}
          {intro !== undefined && <Text size="sm">{intro}</Text>}
          <TextInput
            label="Name"
            value={draft.name}
            maxLength={128}
            disabled={readOnly}
            error={tried && problems.name}
            data-autofocus
            onChange={(event) => edit({ name: event.currentTarget.value })}
          />
          <Labelled
            label="Effect"
            value={draft.effect}
            disabled={readOnly}
            description={EFFECT_WORDS[draft.effect].means}
            data={EFFECTS.map((effect) => ({ value: effect, label: EFFECT_WORDS[effect].word }))}
            onChange={(effect) => edit({ effect: effect as RuleEffect })}
          />
          <Sides draft={draft} base={base} readOnly={readOnly} edit={edit} tried={tried} />
          <div className={classes.pair}>
            <TagsInput
              label="Ports"
              description="Single ones and ranges, of the destination"
              placeholder={draft.ports.length === 0 ? "any" : ""}
              value={draft.ports}
              disabled={readOnly}
              splitChars={[",", " "]}
              styles={{ inputField: { minWidth: 48 } }}
              error={problems.ports}
              onChange={(ports) =>
                edit({ ports: ports.map((one) => String(parsePorts(one) ?? one)) })
              }
            />
            <Labelled
              label="Protocol"
              value={draft.protocol}
              disabled={readOnly}
              description="any is TCP and UDP"
              above
              data={["any", "tcp", "udp"]}
              onChange={(protocol) => edit({ protocol: protocol as RuleDraft["protocol"] })}
            />
          </div>
          <Where draft={draft} base={base} readOnly={readOnly} edit={edit} />
          <div className={classes.pair}>
            <TextInput
              label="Owner"
              description="Whom to ask about it"
              value={draft.owner}
              maxLength={128}
              disabled={readOnly}
              onChange={(event) => edit({ owner: event.currentTarget.value })}
            />
            <TextInput
              type="datetime-local"
              label="Expires"
              description="From then on it counts as absent"
              value={draft.expires}
              disabled={readOnly}
              onChange={(event) => edit({ expires: event.currentTarget.value })}
            />
          </div>
          <Textarea
            label="Note"
            value={draft.note}
            maxLength={1024}
            autosize
            minRows={2}
            maxRows={6}
            disabled={readOnly}
            onChange={(event) => edit({ note: event.currentTarget.value })}
          />
          <Switch
            label="Enabled"
            checked={draft.enabled}
            disabled={readOnly}
            onChange={(event) => edit({ enabled: event.currentTarget.checked })}
          />
          {!readOnly && (
            <TextInput
              label="Reason for the change"
              description="For the history"
              value={reason}
              maxLength={500}
              onChange={(event) => setReason(event.currentTarget.value)}
            />
          )}
          {!wrong && (
            <WhatIfPanel draft={() => withDraft(base, draft)} key={JSON.stringify(draft)} />
          )}
          <div className={classes.drawerFoot}>
            <div className={classes.told}>
              {meanwhile !== "" && (
                <Alert color="orange" variant="light" role="status">
                  {meanwhile}
                </Alert>
              )}
              {failure !== null && (
                <Refusal error={failure} version={base.version} onReload={() => void reload()} />
              )}
              {checked !== null && <Outcome outcome={checked} about={draft.name.trim()} />}
            </div>
            {readOnly ? (
              <Button variant="default" onClick={onClose}>
                Close
              </Button>
            ) : (
              <>
                <Button
                  variant="subtle"
                  mr="auto"
                  loading={check.isPending}
                  onClick={() => {
                    setTried(true);
                    if (!wrong) check.mutate(wanted(true));
                  }}
                >
                  Check
                </Button>
                <Button variant="default" onClick={onClose}>
                  Cancel
                </Button>
                <Button type="submit" loading={save.isPending}>
                  {draft.was === null ? "Add rule" : "Save"}
                </Button>
              </>
            )}
          </div>
        </Stack>
      </form>
    </Drawer>
  );
}

const withObjects = (draft: RuleDraft): string => {
  const names = objectsOf(draft).map((one) => one.name);
  return names.length === 0
    ? ""
    : `rule ${draft.name.trim()}, with network objects ${names.join(", ")}`.slice(0, 500);
};

interface Part {
  draft: RuleDraft;
  base: Policy;
  readOnly: boolean;
  edit: (part: Partial<RuleDraft>) => void;
}

function Sides({ draft, base, readOnly, edit, tried }: Part & { tried: boolean }) {
  const problems = problemsOf(draft, base.networkObjects);
  return (["source", "destination"] as const).map((side) => (
    <SidePicker
      key={side}
      label={side === "source" ? "Source" : "Destination"}
      list={draft.list}
      value={draft[side]}
      objects={base.networkObjects}
      fresh={draft.objects}
      // What was typed is told at once; whether the sides go together, when the rule is finished.
      error={typedProblemOf(draft, side) ?? (tried ? problems[side] : undefined)}
      disabled={readOnly}
      onChange={(value, objects) => edit({ [side]: value, objects })}
    />
  ));
}

/** In which list, and for a new one where in it. */
function Where({ draft, base, readOnly, edit }: Part) {
  const rules = base.rules[draft.list];
  const held = draft.was !== null && rules.some((rule) => rule.name === draft.was);
  const after = typeof draft.place === "object" ? draft.place.after : null;
  return (
    <div className={classes.pair}>
      <Labelled
        label="List"
        value={draft.list}
        disabled={readOnly}
        data={[
          { value: "containers", label: "Containers" },
          { value: "hosts", label: "Hosts" },
        ]}
        onChange={(list) => edit({ list: list as RuleList, place: "last" })}
      />
      {!held && draft.was === null && (
        <Select
          label="Position"
          value={typeof draft.place === "string" ? draft.place : "after"}
          allowDeselect={false}
          disabled={readOnly}
          data={[
            { value: "first", label: "At the top" },
            { value: "last", label: "At the end" },
            ...(rules.length > 0 ? [{ value: "after", label: "After a rule" }] : []),
          ]}
          onChange={(value) =>
            edit({
              place:
                value === "after"
                  ? { after: rules.at(-1)?.name ?? "" }
                  : ((value ?? "last") as Place),
            })
          }
        />
      )}
      {after !== null && (
        <Select
          label="After"
          style={{ gridColumn: "2" }}
          searchable
          limit={60}
          allowDeselect={false}
          value={after}
          data={rules.map((rule) => rule.name)}
          onChange={(name) => name !== null && edit({ place: { after: name } })}
        />
      )}
      {draft.was !== null && !held && (
        <Group align="end">
          <Text size="xs" c="dimmed">
            It goes to the end of the other list.
          </Text>
        </Group>
      )}
    </div>
  );
}
