import { Button, Checkbox, Drawer, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { IconArrowsLeftRight } from "@tabler/icons-react";
import { useState } from "react";
import type { NetworkObject, ObjectKind, ObjectUse, PolicyChanged } from "../../api/types";
import { plural } from "../../radar/format";
import { useChange, useNewest, type Wanted } from "./change";
import { PROTECTED } from "./draft";
import { LabelRows } from "./LabelRows";
import { Outcome } from "./Outcome";
import {
  labelRows,
  type ObjectDraft,
  objectDraft,
  objectOfDraft,
  problemsOfObject,
} from "./object-draft";
import classes from "./Policy.module.css";
import { Refusal } from "./Refusal";
import { KIND_WORDS, KINDS } from "./words";

interface Props {
  /** Null for a new one. */
  object: NetworkObject | null;
  usedBy: readonly ObjectUse[];
  version: number;
  readOnly: boolean;
  onConnections: (name: string) => void;
  onClose: () => void;
  onSaved: () => void;
}

/** A network object while it is written. */
export function ObjectDrawer(props: Props) {
  const { object, usedBy, version, readOnly, onConnections, onClose, onSaved } = props;
  const [draft, setDraft] = useState<ObjectDraft>(() => objectDraft(object));
  const [base, setBase] = useState(version);
  const [carry, setCarry] = useState(true);
  const [reason, setReason] = useState("");
  const [tried, setTried] = useState(false);
  const [checked, setChecked] = useState<PolicyChanged | null>(null);
  const newest = useNewest();
  const save = useChange(onSaved);
  const check = useChange(setChecked);
  const problems = problemsOfObject(draft);
  const wrong = Object.keys(problems).length > 0;
  const was = object?.name ?? null;
  const renamed = was !== null && draft.name.trim() !== was;
  const edit = (part: Partial<ObjectDraft>) => {
    setDraft((before) => ({ ...before, ...part }));
    setChecked(null);
    check.reset();
    if (save.isError) save.reset();
  };
  const wanted = (preview: boolean): Wanted => ({
    method: "PUT",
    path: `/policy/objects/${encodeURIComponent(was ?? draft.name.trim())}`,
    query: renamed && carry ? { carry: "true" } : {},
    body: objectOfDraft(draft),
    version: base,
    reason,
    preview,
  });
  const reload = async () => {
    setBase((await newest()).version);
    save.reset();
    check.reset();
  };
  const failure = save.error ?? check.error;
  const narrowed = PROTECTED.includes(draft.type);
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size={560}
      title={was === null ? "New network object" : `Network object ${was}`}
      closeButtonProps={{ "aria-label": "Close" }}
      data-testid="object-drawer"
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
          {was !== null && (
            <Button
              variant="default"
              size="xs"
              style={{ alignSelf: "start" }}
              leftSection={<IconArrowsLeftRight size={15} stroke={1.7} aria-hidden />}
              onClick={() => onConnections(was)}
            >
              Connections
            </Button>
          )}
          <TextInput
            label="Name"
            value={draft.name}
            maxLength={128}
            disabled={readOnly}
            error={tried && problems.name}
            data-autofocus
            onChange={(event) => edit({ name: event.currentTarget.value })}
          />
          {renamed && usedBy.length > 0 && (
            <Checkbox
              label={`Rename it in ${plural(new Set(usedBy.map((use) => use.rule)).size, "rule")} that names it, too`}
              description="Without it the new name is refused while rules use the old one."
              checked={carry}
              onChange={(event) => setCarry(event.currentTarget.checked)}
            />
          )}
          <Select
            label="Type"
            value={draft.type}
            allowDeselect={false}
            disabled={readOnly}
            data={KINDS.map((kind) => ({ value: kind, label: KIND_WORDS[kind].word }))}
            onChange={(type) => edit({ type: (type ?? "subnet") as ObjectKind })}
          />
          <TagsInput
            label="Values"
            description={KIND_WORDS[draft.type].hint}
            value={draft.values}
            disabled={readOnly}
            error={tried && problems.values}
            onChange={(values) => edit({ values })}
          />
          {narrowed && (
            <>
              <Text size="sm" c="dimmed">
                Narrow it, if you like: all that is given here has to hold, too.
              </Text>
              {(draft.type === "image"
                ? (["clusters", "namespaces", "hosts", "addresses"] as const)
                : (["clusters", "namespaces", "hosts"] as const)
              ).map((field) => (
                <TagsInput
                  key={field}
                  label={NARROW_WORDS[field]}
                  placeholder={draft[field].length === 0 ? "any" : ""}
                  value={draft[field]}
                  disabled={readOnly}
                  onChange={(value) => edit({ [field]: value })}
                />
              ))}
              <LabelRows
                rows={draft.labels}
                readOnly={readOnly}
                error={tried ? problems.labels : undefined}
                onChange={(labels) => edit({ labels })}
              />
            </>
          )}
          {!narrowed && lost(draft) && (
            <Text size="xs" className={classes.warn}>
              Clusters, namespaces, hosts and labels of it go: {KIND_WORDS[draft.type].many} have
              none.
            </Text>
          )}
          {!readOnly && (
            <TextInput
              label="Reason for the change"
              description="For the history"
              value={reason}
              maxLength={500}
              onChange={(event) => setReason(event.currentTarget.value)}
            />
          )}
          <div className={classes.drawerFoot}>
            <div className={classes.told}>
              {failure !== null && (
                <Refusal error={failure} version={base} onReload={() => void reload()} />
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
                  {was === null ? "Add object" : "Save"}
                </Button>
              </>
            )}
          </div>
        </Stack>
      </form>
    </Drawer>
  );
}

const NARROW_WORDS = {
  clusters: "Clusters",
  namespaces: "Namespaces",
  hosts: "Hosts",
  addresses: "Addresses",
};

const lost = (draft: ObjectDraft): boolean =>
  draft.clusters.length + draft.namespaces.length + draft.hosts.length > 0 ||
  labelRows(draft).length > 0;
